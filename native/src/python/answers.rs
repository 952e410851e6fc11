//! What calls of the core give back to Python.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::ArrowBatch;
use crate::outcome::{Counters, Outcome, Payload};

#[pyclass(frozen, module = "fleetmeter_native._core")]
pub struct Ingested {
    counters: Counters,
    #[pyo3(get)]
    rejections: Py<PyList>,
    #[pyo3(get)]
    facts: Py<PyList>,
}

impl Ingested {
    /// Records are numbered from `base_offset` on.
    pub fn new(
        py: Python<'_>,
        outcome: Outcome,
        base_offset: u64,
        held: &Bound<'_, PyTuple>,
        records: &[Option<&[u8]>],
    ) -> PyResult<Self> {
        let bytes = |record: usize, payload: Payload| -> PyResult<Bound<'_, PyAny>> {
            let value = records.get(record).copied().flatten().unwrap_or_default();
            Ok(match payload {
                Payload::Record => held.get_item(record)?,
                Payload::None => PyBytes::new(py, b"").into_any(),
                Payload::Made(made) => PyBytes::new(py, &made).into_any(),
                Payload::Part { start, end } if start == 0 && end as usize == value.len() => held.get_item(record)?,
                Payload::Part { start, end } => {
                    PyBytes::new(py, value.get(start as usize..end as usize).unwrap_or_default()).into_any()
                }
            })
        };
        let rejections = PyList::empty(py);
        for rejected in outcome.rejections {
            let payload = bytes(rejected.record as usize, rejected.payload)?;
            rejections.append((rejected.record, rejected.index, rejected.reason.code(), rejected.field, payload))?;
        }
        let facts = PyList::empty(py);
        for fact in outcome.facts {
            let record = fact.offset - base_offset;
            facts.append((record, fact.index, bytes(record as usize, fact.payload)?))?;
        }
        Ok(Ingested { counters: outcome.counters, rejections: rejections.unbind(), facts: facts.unbind() })
    }
}

#[pyclass(frozen, module = "fleetmeter_native._core")]
pub struct Flush {
    pub counters: Counters,
    #[pyo3(get)]
    pub blob: Py<PyBytes>,
    #[pyo3(get)]
    pub usage: Py<ArrowBatch>,
    #[pyo3(get)]
    pub subjects: Py<ArrowBatch>,
}

macro_rules! counter_properties {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            #[getter]
            fn events_in(&self) -> u64 {
                self.counters.events_in
            }
            #[getter]
            fn accepted(&self) -> u64 {
                self.counters.accepted
            }
            #[getter]
            fn duplicates(&self) -> u64 {
                self.counters.duplicates
            }
            #[getter]
            fn rejected(&self) -> u64 {
                self.counters.rejected
            }
            #[getter]
            fn unknown_fields(&self) -> u64 {
                self.counters.unknown_fields
            }
            #[getter]
            fn overflowed_labels(&self) -> u64 {
                self.counters.overflowed_labels
            }
            #[getter]
            fn max_event_time_us(&self) -> i64 {
                self.counters.max_event_time_us
            }
        }
    };
}

counter_properties!(Ingested);
counter_properties!(Flush);
