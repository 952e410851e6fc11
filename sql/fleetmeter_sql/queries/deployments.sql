-- How often each account downloaded each local model, and on how many installations it stands at the end of the span.
-- param from DateTime('UTC') = now-30d: start of the span, included
-- param to DateTime('UTC') = now: end of the span, excluded
-- param account String = : only this account; empty for all
--
-- A download counts once per installation and version, however often it was repeated. An installation has the model if
-- the last thing it reported before the end of the span, even before its start, was a deployment or an upgrade.
SELECT
    account_id,
    model,
    sum(downloaded_versions) AS downloads,
    countIf(last_change IN ('deploy', 'upgrade')) AS deployed,
    countIf(upgraded) AS upgraded_installations,
    countIf(last_change = 'remove' AND last_changed_at >= {from:DateTime('UTC')}) AS removed
FROM
(
    SELECT
        f.account_id AS account_id,
        f.model AS model,
        f.installation AS installation,
        uniqExactIf(f.model_version, f.kind = 'download' AND f.time >= {from:DateTime('UTC')}) AS downloaded_versions,
        argMaxIf(f.kind, (f.time, f.source, f.event_id), f.kind != 'download') AS last_change,
        maxIf(f.time, f.kind != 'download') AS last_changed_at,
        countIf(f.kind = 'upgrade' AND f.time >= {from:DateTime('UTC')}) > 0 AS upgraded
    FROM usage_facts AS f FINAL
    WHERE f.event_type = 'device_report'
        AND f.kind IN ('download', 'deploy', 'upgrade', 'remove')
        AND f.time < {to:DateTime('UTC')}
        AND ({account:String} = '' OR f.account_id = {account:String})
    GROUP BY f.account_id, f.model, f.installation
)
GROUP BY account_id, model
HAVING downloads + deployed + upgraded_installations + removed > 0
ORDER BY account_id, model;
