//! The Python face of `dedup::fold`.

use std::sync::{Arc, Mutex, TryLockError};

use arrow_array::{FixedSizeBinaryArray, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::{DataType, Field, Schema};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{ArrowBatch, key_of};
use crate::dedup::fold;
use crate::error::CoreError;
use crate::identity::IdentityHasher;

const WIDTH: i32 = size_of::<u128>() as i32;

#[pyclass(frozen, module = "fleetmeter_native._core")]
pub struct ChunkFold {
    inner: Mutex<fold::ChunkFold>,
}

#[pymethods]
impl ChunkFold {
    #[new]
    fn new(hash_key: &[u8]) -> PyResult<Self> {
        let key_check = IdentityHasher::new(key_of(hash_key)?).key_check();
        Ok(ChunkFold { inner: Mutex::new(fold::ChunkFold::new(key_check)) })
    }

    fn add(&self, py: Python<'_>, blob: &[u8]) -> PyResult<()> {
        self.work(py, |fold| fold.add(blob))
    }

    #[getter]
    fn foreign_ids(&self, py: Python<'_>) -> PyResult<usize> {
        self.work(py, |fold| Ok(fold.fingerprints().len()))
    }

    #[getter]
    fn sequenced_events(&self, py: Python<'_>) -> PyResult<u64> {
        self.work(py, |fold| Ok(fold.sequenced_events()))
    }

    fn fingerprints(&self, py: Python<'_>) -> PyResult<ArrowBatch> {
        let batch = self.work(py, |fold| {
            let failed = |error: arrow_schema::ArrowError| CoreError::Output(error.to_string());
            let bytes: Vec<u8> = fold.fingerprints().iter().flat_map(|id| id.to_be_bytes()).collect();
            let column = FixedSizeBinaryArray::try_new(WIDTH, Buffer::from_vec(bytes), None).map_err(failed)?;
            let field = Field::new("fingerprint", DataType::FixedSizeBinary(WIDTH), false);
            RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(column)]).map_err(failed)
        })?;
        Ok(ArrowBatch { batch })
    }

    fn hours<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.work(py, |fold| Ok(fold.hours().to_bytes()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn filter<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.work(py, fold::ChunkFold::filter)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn sequenced<'py>(&self, py: Python<'py>, before_day: u16) -> PyResult<Bound<'py, PyBytes>> {
        let blob = self.work(py, |fold| Ok(fold.sequenced(before_day)))?;
        Ok(PyBytes::new(py, &blob))
    }
}

impl ChunkFold {
    /// Runs with the fold and without the GIL.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        task: impl FnOnce(&mut fold::ChunkFold) -> Result<T, CoreError> + Send,
    ) -> PyResult<T> {
        let mut fold = self.inner.try_lock().map_err(|error| {
            PyRuntimeError::new_err(match error {
                TryLockError::WouldBlock => "the fold is at work in another thread; one thread at a time may call it",
                TryLockError::Poisoned(_) => "an earlier call of this fold failed inside; begin a new one",
            })
        })?;
        let fold: &mut fold::ChunkFold = &mut fold;
        Ok(py.detach(|| task(fold))?)
    }
}
