//! From the text of a spec to its tables; every name and number is checked on the way.

use super::*;

/// Builds tables while it hands out numbers for strings and subject kinds.
pub(super) struct Builder {
    hasher: TableHasher,
    dimensions: KeyTable,
    measures: KeyTable,
    subject_kinds: Vec<String>,
    fixed: Vec<String>,
    slots: u32,
}

impl Builder {
    pub(super) fn new(text: &SpecText, hasher: TableHasher) -> Result<Self, CoreError> {
        let columns = |names: &[String], what: &str| {
            KeyTable::new(hasher, names.iter().map(String::as_str))
                .ok_or_else(|| invalid(format!("the ledger names a {what} twice")))
        };
        Ok(Builder {
            hasher,
            dimensions: columns(&text.ledger.dimensions, "dimension")?,
            measures: columns(&text.ledger.measures, "measure")?,
            subject_kinds: Vec::new(),
            fixed: Vec::new(),
            slots: 0,
        })
    }

    pub(super) fn build(mut self, text: &SpecText) -> Result<Spec, CoreError> {
        let attributes = self.attributes(&text.known_attributes)?;
        let types = text.types.iter().map(|event| self.event_type(event)).collect::<Result<Vec<_>, _>>()?;
        let type_names = KeyTable::new(self.hasher, text.types.iter().map(|event| event.name.as_str()))
            .ok_or_else(|| invalid("the spec names a type twice".to_owned()))?;
        let shorts: std::collections::HashSet<u32> = types.iter().map(|event| event.short).collect();
        if shorts.len() != types.len() {
            return Err(invalid("two types of the spec have one short name".to_owned()));
        }
        let caps = types.iter().flat_map(|event| &event.fields).filter(|field| field.measure.is_some());
        Ok(Spec {
            attributes,
            id_length: text.envelope.id,
            source_length: text.envelope.source,
            subject_length: text.envelope.subject,
            largest_cap: caps.map(|field| field.cap as u64).max().unwrap_or(0).max(1),
            most_fields: types.iter().map(|event| event.fields.len()).max().unwrap_or(0),
            types,
            type_names,
            dimensions: text.ledger.dimensions.clone(),
            measures: text.ledger.measures.clone(),
            subject_kinds: self.subject_kinds,
            fixed_strings: self.fixed,
        })
    }

    /// The attributes in the core's order: the seven that it reads, then the rest as declared.
    fn attributes(&self, known: &[String]) -> Result<KeyTable, CoreError> {
        for name in attribute::NAMES {
            if !known.iter().any(|attribute| attribute == name) {
                return Err(invalid(format!("known_attributes of the spec lacks {name:?}")));
            }
        }
        let rest = known.iter().map(String::as_str).filter(|name| !attribute::NAMES.contains(name));
        let keys = KeyTable::new(self.hasher, attribute::NAMES.into_iter().chain(rest));
        keys.filter(|keys| keys.len() == known.len() && keys.len() <= MAX_FIELDS)
            .ok_or_else(|| invalid("known_attributes of the spec repeats a name, or has more than 128".to_owned()))
    }

    fn event_type(&mut self, text: &TypeText) -> Result<EventType, CoreError> {
        let name = &text.name;
        if text.fields.len() > MAX_FIELDS {
            return Err(invalid(format!("type {name} has more than {MAX_FIELDS} fields")));
        }
        let keys = KeyTable::new(self.hasher, text.fields.iter().map(|field| field.name.as_str()))
            .ok_or_else(|| invalid(format!("type {name} names a field twice")))?;
        let route = match text.route {
            RouteText::Rollup => Route::Rollup,
            RouteText::Fact => Route::Fact,
        };
        let mut fields =
            text.fields.iter().map(|field| self.field(name, route, field)).collect::<Result<Vec<_>, _>>()?;
        let rules = text.rules.iter().map(|rule| self.rule(name, &keys, rule)).collect::<Result<Vec<_>, _>>()?;
        for rule in &rules {
            check_rule(name, &fields, rule)?;
            if let Rule::RequiredWhen { on, .. } | Rule::AbsentWhen { on, .. } = rule {
                fields[*on].interned = true;
            }
        }
        let bands = text
            .bands
            .iter()
            .map(|band| self.band(name, route, &keys, &fields, band))
            .collect::<Result<Vec<_>, _>>()?;
        let mut label_columns =
            fields.iter().filter(|field| field.kind == Kind::Labels).filter_map(|field| field.dimension);
        let labels = label_columns.next();
        if label_columns.next().is_some() {
            return Err(invalid(format!("type {name} has two label dimensions")));
        }
        let required = fields.iter().enumerate().filter(|(_, field)| field.required);
        Ok(EventType {
            name: name.clone(),
            short: self.fixed_string(&text.short),
            route,
            count: text.count_measure.as_ref().map(|measure| self.measure(name, measure)).transpose()?,
            required: required.fold(0, |set, (i, _)| set | 1 << i),
            labels,
            fields,
            keys,
            rules: rules.into_iter().map(|rule| (rule.triggers(), rule)).collect(),
            bands,
        })
    }

    fn field(&mut self, event: &str, route: Route, text: &FieldText) -> Result<Field, CoreError> {
        let place = format!("field {event}/{}", text.name);
        let numeric = matches!(text.kind, KindText::Uint | KindText::Int);
        let cap = match (numeric, text.cap) {
            (true, Some(cap)) if cap <= MAX_CAP => cap as i64,
            (true, Some(cap)) => return Err(invalid(format!("{place}: cap {cap} is above 2^63 - 1"))),
            (true, None) => return Err(invalid(format!("{place}: a quantity needs a cap"))),
            (false, _) => 0,
        };
        let rolls_up = route == Route::Rollup;
        let fits = match text.role {
            RoleText::Dimension if rolls_up => matches!(text.kind, KindText::String | KindText::Labels),
            RoleText::Measure if rolls_up => text.kind == KindText::Uint,
            RoleText::Subject => text.kind == KindText::String,
            _ => true,
        };
        if !fits {
            return Err(invalid(format!("{place}: kind {:?} does not fit its role", text.kind)));
        }
        let dimension =
            (rolls_up && text.role == RoleText::Dimension).then(|| self.dimension(event, &text.name)).transpose()?;
        let measure =
            (rolls_up && text.role == RoleText::Measure).then(|| self.measure(event, &text.name)).transpose()?;
        let samples = (measure.is_some() && text.samples)
            .then(|| self.measure(event, &format!("{}_samples", text.name)))
            .transpose()?;
        let subject = (text.role == RoleText::Subject).then(|| self.subject_kind(&text.name)).transpose()?;
        Ok(Field {
            path: format!("data.{}", text.name),
            name: text.name.clone(),
            kind: text.kind,
            required: text.required,
            max_length: text.max_length.unwrap_or(u32::MAX),
            choices: text.choices.clone(),
            cap,
            interned: dimension.is_some() && text.kind == KindText::String,
            slot: self.next_slot(),
            dimension,
            measure,
            samples,
            subject,
        })
    }

    fn rule(&mut self, event: &str, keys: &KeyTable, text: &RuleText) -> Result<Rule, CoreError> {
        let find = |name: &String| field_number(event, keys, name);
        Ok(match text {
            RuleText::PartsWithin { parts, whole } => {
                Rule::PartsWithin { parts: parts.iter().map(find).collect::<Result<_, _>>()?, whole: find(whole)? }
            }
            RuleText::NotAbove { field, limit } => Rule::NotAbove { field: find(field)?, limit: find(limit)? },
            RuleText::RequiredWhen { field, on, values } => {
                Rule::RequiredWhen { field: find(field)?, on: find(on)?, values: self.fixed_strings(values) }
            }
            RuleText::AbsentWhen { field, on, values } => {
                Rule::AbsentWhen { field: find(field)?, on: find(on)?, values: self.fixed_strings(values) }
            }
            RuleText::NearEventTime { field, max_age_us, max_ahead_us } => {
                Rule::NearEventTime { field: find(field)?, max_age_us: *max_age_us, max_ahead_us: *max_ahead_us }
            }
        })
    }

    fn band(
        &mut self,
        event: &str,
        route: Route,
        keys: &KeyTable,
        fields: &[Field],
        text: &BandText,
    ) -> Result<Band, CoreError> {
        let place = format!("band {event}/{}", text.name);
        let of = field_number(event, keys, &text.of)?;
        if route != Route::Rollup || fields[of].kind != Kind::Uint {
            return Err(invalid(format!("{place}: bands are of quantities of types that roll up")));
        }
        if text.labels.len() != text.thresholds.len() + 1 {
            return Err(invalid(format!("{place}: it needs one label more than thresholds")));
        }
        if !text.thresholds.is_sorted_by(|a, b| a < b) || text.thresholds.last().is_some_and(|top| *top > MAX_CAP) {
            return Err(invalid(format!("{place}: thresholds must ascend and stay below 2^63")));
        }
        Ok(Band {
            dimension: self.dimension(event, &text.name)?,
            of,
            thresholds: text.thresholds.iter().map(|threshold| *threshold as i64).collect(),
            labels: self.fixed_strings(&text.labels),
        })
    }

    fn dimension(&self, event: &str, name: &str) -> Result<u16, CoreError> {
        let number = self.dimensions.find(name.as_bytes());
        number.map(|at| at as u16).ok_or_else(|| invalid(format!("{event}/{name} is not a dimension of the ledger")))
    }

    fn measure(&self, event: &str, name: &str) -> Result<u16, CoreError> {
        let number = self.measures.find(name.as_bytes());
        number.map(|at| at as u16).ok_or_else(|| invalid(format!("{event}/{name} is not a measure of the ledger")))
    }

    fn subject_kind(&mut self, name: &str) -> Result<u8, CoreError> {
        let known = self.subject_kinds.iter().position(|kind| kind == name);
        let number = known.unwrap_or_else(|| {
            self.subject_kinds.push(name.to_owned());
            self.subject_kinds.len() - 1
        });
        u8::try_from(number).map_err(|_| invalid("the spec has more than 256 kinds of subject".to_owned()))
    }

    fn next_slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots
    }

    fn fixed_strings(&mut self, texts: &[String]) -> Vec<u32> {
        texts.iter().map(|text| self.fixed_string(text)).collect()
    }

    /// The number that the interner gives: the empty string is 0, then the fixed strings in their order.
    fn fixed_string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return crate::intern::EMPTY;
        }
        let known = self.fixed.iter().position(|other| other == text);
        let number = known.unwrap_or_else(|| {
            self.fixed.push(text.to_owned());
            self.fixed.len() - 1
        });
        number as u32 + 1
    }
}

fn field_number(event: &str, keys: &KeyTable, name: &str) -> Result<usize, CoreError> {
    keys.find(name.as_bytes()).ok_or_else(|| invalid(format!("type {event}: {name} is not a field of it")))
}

fn check_rule(event: &str, fields: &[Field], rule: &Rule) -> Result<(), CoreError> {
    let numeric = |at: &usize| matches!(fields[*at].kind, Kind::Uint);
    let fits = match rule {
        Rule::PartsWithin { parts, whole } => !parts.is_empty() && parts.iter().all(numeric) && numeric(whole),
        Rule::NotAbove { field, limit } => {
            let (a, b) = (fields[*field].kind, fields[*limit].kind);
            a == b && matches!(a, Kind::Uint | Kind::Int | Kind::Time)
        }
        Rule::RequiredWhen { on, .. } | Rule::AbsentWhen { on, .. } => fields[*on].kind == Kind::String,
        Rule::NearEventTime { field, max_age_us, max_ahead_us } => {
            fields[*field].kind == Kind::Time && *max_age_us >= 0 && *max_ahead_us >= 0
        }
    };
    if fits { Ok(()) } else { Err(invalid(format!("type {event}: a rule does not fit the kinds of its fields"))) }
}
