//! The Python face of `kafka_records`; nothing is decided here. See `_core.pyi` for the contract.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::kafka_records;

type Headers<'py> = Vec<(String, Option<Bound<'py, PyBytes>>)>;
/// Values, their bytes, and the headers of the records that have some.
type Values<'py> = (Bound<'py, PyList>, usize, Vec<(usize, Headers<'py>)>);

#[pyfunction]
pub fn record_values<'py>(py: Python<'py>, records: &[u8], count: usize) -> PyResult<Values<'py>> {
    let records = kafka_records::read(records, count).map_err(|damaged| {
        PyValueError::new_err(format!("record {} of {count} is damaged: {}", damaged.record, damaged.what))
    })?;
    let bytes = records.iter().filter_map(|record| record.value).map(<[u8]>::len).sum();
    let with_headers = records.iter().enumerate().filter(|(_, record)| !record.headers.is_empty());
    let headers = with_headers.map(|(at, record)| {
        let pairs =
            record.headers.iter().map(|(key, value)| ((*key).to_owned(), value.map(|value| PyBytes::new(py, value))));
        (at, pairs.collect())
    });
    let headers = headers.collect();
    let values = PyList::new(py, records.iter().map(|record| record.value.map(|value| PyBytes::new(py, value))))?;
    Ok((values, bytes, headers))
}
