//! The Python face of the core; nothing is decided here. See `_core.pyi` for the contract.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, to_ffi};
use arrow_array::{Array, RecordBatch, StructArray};
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyCapsule, PyDict, PyList, PyTuple};

use crate::dedup::blob;
use crate::dedup::filter::SharedBytes;
use crate::engine;
use crate::error::CoreError;
use crate::reasons::Reason;

mod answers;
mod fold;
mod records;

use answers::{Flush, Ingested};

impl From<CoreError> for PyErr {
    fn from(error: CoreError) -> PyErr {
        let message = error.to_string();
        match error {
            CoreError::Invalid(_) | CoreError::Blob(_) | CoreError::Chunk(_) => PyValueError::new_err(message),
            CoreError::SumOverflow { .. } => PyOverflowError::new_err(message),
            CoreError::Output(_) | CoreError::NotNow(_) => PyRuntimeError::new_err(message),
        }
    }
}

#[pyclass(frozen, module = "fleetmeter_native._core")]
struct Core {
    inner: Mutex<engine::Core>,
    /// Copies outside of the lock, so that they can be read while a call works.
    pending_events: AtomicU64,
    pending_groups: AtomicU64,
    held_events: AtomicU64,
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (spec, hash_key, *, horizon_us, future_us, record_limit_bytes, event_limit_bytes, label_keys, label_sets_per_account_hour, deduplicate=true))]
    #[expect(clippy::too_many_arguments, reason = "they are keyword arguments in Python")]
    fn new(
        spec: &[u8],
        hash_key: &[u8],
        horizon_us: i64,
        future_us: i64,
        record_limit_bytes: usize,
        event_limit_bytes: usize,
        label_keys: Vec<String>,
        label_sets_per_account_hour: u32,
        deduplicate: bool,
    ) -> PyResult<Self> {
        let key = key_of(hash_key)?;
        let options = engine::Options {
            horizon_us,
            future_us,
            record_limit_bytes,
            event_limit_bytes,
            label_keys,
            label_sets_per_account_hour,
            deduplicate,
        };
        Ok(Core {
            inner: Mutex::new(engine::Core::new(spec, key, options)?),
            pending_events: AtomicU64::new(0),
            pending_groups: AtomicU64::new(0),
            held_events: AtomicU64::new(0),
        })
    }

    fn ingest(
        &self,
        py: Python<'_>,
        values: &Bound<'_, PyList>,
        base_offset: u64,
        append_time_us: i64,
    ) -> PyResult<Ingested> {
        // The tuple keeps every value alive while the GIL is released, whatever happens to the list.
        let held = values.to_tuple();
        let records = borrow(&held)?;
        let outcome = self.work(py, |core| core.ingest(&records, base_offset, append_time_us))?;
        Ingested::new(py, outcome, base_offset, &held, &records)
    }

    fn flush(&self, py: Python<'_>) -> PyResult<Flush> {
        let flushed = self.work(py, engine::Core::flush)?;
        Ok(Flush {
            counters: flushed.counters,
            blob: PyBytes::new(py, &flushed.blob).unbind(),
            usage: Py::new(py, ArrowBatch { batch: flushed.usage })?,
            subjects: Py::new(py, ArrowBatch { batch: flushed.subjects })?,
        })
    }

    fn restore(&self, py: Python<'_>, blob: &[u8]) -> PyResult<()> {
        self.work(py, |core| core.restore(blob))
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let blob = self.work(py, |core| Ok(core.snapshot()))?;
        Ok(PyBytes::new(py, &blob))
    }

    fn begin_chunk(&self, py: Python<'_>, chunk: u64) -> PyResult<()> {
        self.work(py, |core| core.begin_chunk(chunk))
    }

    #[pyo3(signature = (chunk, *, ids, hours, filter))]
    fn set_chunk(
        &self,
        py: Python<'_>,
        chunk: u64,
        ids: u64,
        hours: &[u8],
        filter: Option<PyBackedBytes>,
    ) -> PyResult<()> {
        let filter = filter.map(|bytes| Arc::new(bytes) as SharedBytes);
        self.work(py, |core| core.set_chunk(chunk, ids, hours, filter))
    }

    fn forget_chunk(&self, py: Python<'_>, chunk: u64) -> PyResult<()> {
        self.work(py, |core| core.forget_chunk(chunk))
    }

    fn forget_sequenced(&self, py: Python<'_>, before_day: u16) -> PyResult<u64> {
        self.work(py, |core| Ok(core.forget_sequenced(before_day)))
    }

    #[getter]
    fn floor_us(&self, py: Python<'_>) -> PyResult<i64> {
        self.work(py, |core| Ok(core.floor_us()))
    }

    #[setter]
    fn set_floor_us(&self, py: Python<'_>, floor_us: i64) -> PyResult<()> {
        self.work(py, |core| {
            core.set_floor_us(floor_us);
            Ok(())
        })
    }

    fn take_lookups<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
        let lookups = self.work(py, |core| Ok(core.take_lookups()))?;
        Ok(lookups.into_iter().map(|(chunk, ids)| (chunk, PyBytes::new(py, &ids))).collect())
    }

    fn resolve(&self, py: Python<'_>, known: &[u8]) -> PyResult<Ingested> {
        let outcome = self.work(py, |core| core.resolve(known))?;
        Ingested::new(py, outcome, 0, &PyTuple::empty(py), &[])
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.work(py, |core| Ok(core.stats()))?;
        let dict = PyDict::new(py);
        dict.set_item("memory_bytes", stats.memory_bytes)?;
        dict.set_item("exact_bytes", stats.exact_bytes)?;
        dict.set_item("filter_bytes", stats.filter_bytes)?;
        dict.set_item("sequenced_bytes", stats.sequenced_bytes)?;
        dict.set_item("sequenced_incarnations", stats.sequenced_incarnations)?;
        dict.set_item("sequenced_ranges", stats.sequenced_ranges)?;
        dict.set_item("sequenced_events", stats.sequenced_events)?;
        dict.set_item("foreign_ids", stats.foreign_ids)?;
        dict.set_item("chunks", stats.chunks)?;
        dict.set_item("filtered_ids", stats.filtered_ids)?;
        dict.set_item("hourly_ids", stats.hourly_ids)?;
        dict.set_item("held_events", stats.held_events)?;
        Ok(dict)
    }

    #[getter]
    fn held_events(&self) -> u64 {
        self.held_events.load(Ordering::Relaxed)
    }

    #[getter]
    fn pending_events(&self) -> u64 {
        self.pending_events.load(Ordering::Relaxed)
    }

    #[getter]
    fn pending_groups(&self) -> u64 {
        self.pending_groups.load(Ordering::Relaxed)
    }
}

impl Core {
    /// Runs with the core and without the GIL.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        task: impl FnOnce(&mut engine::Core) -> Result<T, CoreError> + Send,
    ) -> PyResult<T> {
        let mut core = self.lock()?;
        let core_ref: &mut engine::Core = &mut core;
        let result = py.detach(|| task(core_ref));
        self.pending_events.store(core.pending_events(), Ordering::Relaxed);
        self.pending_groups.store(core.pending_groups(), Ordering::Relaxed);
        self.held_events.store(core.held_events() as u64, Ordering::Relaxed);
        Ok(result?)
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, engine::Core>> {
        self.inner.try_lock().map_err(|error| {
            PyRuntimeError::new_err(match error {
                TryLockError::WouldBlock => "the core is at work in another thread; one thread at a time may call it",
                TryLockError::Poisoned(_) => {
                    "an earlier call of this core failed inside; drop it and restore a new one from the ledger"
                }
            })
        })
    }
}

fn key_of(hash_key: &[u8]) -> PyResult<&[u8; 16]> {
    hash_key
        .try_into()
        .map_err(|_| PyValueError::new_err(format!("hash_key must have 16 bytes, not {}", hash_key.len())))
}

/// The bytes of each value, borrowed from the objects that the tuple holds.
fn borrow<'a>(values: &'a Bound<'_, PyTuple>) -> PyResult<Vec<Option<&'a [u8]>>> {
    let mut records = Vec::with_capacity(values.len());
    for (at, value) in values.iter_borrowed().enumerate() {
        if value.is_none() {
            records.push(None);
        } else if let Ok(bytes) = <&[u8] as FromPyObject<'a, '_>>::extract(value) {
            records.push(Some(bytes));
        } else {
            let kind = value.get_type();
            return Err(PyTypeError::new_err(format!("values[{at}] must be bytes or None, not {kind}")));
        }
    }
    Ok(records)
}

/// A record batch that any Arrow library can take without a copy (the Arrow PyCapsule interface).
#[pyclass(frozen, module = "fleetmeter_native._core")]
pub struct ArrowBatch {
    batch: RecordBatch,
}

#[pymethods]
impl ArrowBatch {
    #[getter]
    fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// (schema capsule, array capsule). A requested schema is a wish that may be ignored, and is.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema;
        let failed = |error: arrow_schema::ArrowError| PyRuntimeError::new_err(error.to_string());
        let data = StructArray::from(self.batch.clone()).into_data();
        let (array, _) = to_ffi(&data).map_err(failed)?;
        let schema = FFI_ArrowSchema::try_from(self.batch.schema_ref().as_ref()).map_err(failed)?;
        // Both structs release what they hold when dropped, unless a consumer has moved it out and cleared `release`.
        Ok((
            PyCapsule::new_with_value::<FFI_ArrowSchema>(py, schema, c"arrow_schema")?,
            PyCapsule::new_with_value::<FFI_ArrowArray>(py, array, c"arrow_array")?,
        ))
    }
}

/// What a reason code means, in words.
#[pyfunction]
fn explain_reason(code: i64) -> PyResult<&'static str> {
    let reason = Reason::from_code(code);
    reason.map(Reason::sentence).ok_or_else(|| PyValueError::new_err(format!("no reason has the code {code}")))
}

/// What a blob holds, without its hash key.
#[pyfunction]
fn blob_stats<'py>(py: Python<'py>, blob: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let stats = py.detach(|| blob::stats(blob))?;
    let dict = PyDict::new(py);
    dict.set_item("sequenced_events", stats.sequenced_events)?;
    dict.set_item("foreign_ids", stats.foreign_ids)?;
    dict.set_item("append_day", stats.append_day)?;
    dict.set_item("hours", stats.hours)?;
    Ok(dict)
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::contained::install_hook();
    let reasons = PyDict::new(module.py());
    for reason in Reason::ALL {
        reasons.set_item(reason.code(), reason.name())?;
    }
    module.add("REASONS", reasons)?;
    module.add_class::<Core>()?;
    module.add_class::<Ingested>()?;
    module.add_class::<Flush>()?;
    module.add_class::<ArrowBatch>()?;
    module.add_class::<fold::ChunkFold>()?;
    module.add_function(wrap_pyfunction!(blob_stats, module)?)?;
    module.add_function(wrap_pyfunction!(records::record_values, module)?)?;
    module.add_function(wrap_pyfunction!(explain_reason, module)?)
}
