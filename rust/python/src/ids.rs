//! Ids out of Python objects: all are read before the first is counted.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use crate::errors;

/// One id.
pub fn one(id: &Bound<'_, PyAny>, position: Option<usize>) -> PyResult<i64> {
    id.extract().map_err(|error: PyErr| {
        let py = id.py();
        if error.is_instance_of::<PyOverflowError>(py) {
            let shown = id.str().map_or_else(|_| "a huge integer".into(), |s| s.to_string());
            errors::bad_id(py, &shown.chars().take(60).collect::<String>(), position)
        } else {
            error
        }
    })
}

/// Many ids: anything with the buffer protocol of int64 (copied, so that nobody changes them under
/// our hands), or an iterable of integers.
pub fn many(ids: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let py = ids.py();
    if ids.is_instance_of::<PyString>()
        || ids.is_instance_of::<PyBytes>()
        || ids.is_instance_of::<PyByteArray>()
    {
        return Err(PyTypeError::new_err(
            "ids come as a buffer of int64 or as an iterable of integers, not as text or bytes; \
             hint: `memoryview(data).cast(\"q\")`",
        ));
    }
    // PyO3 takes big-endian buffers for native ones; as iterables they give the right numbers.
    if let Ok(buffer) = PyBuffer::<i64>::get(ids)
        && !matches!(buffer.format().to_bytes(), [b'>' | b'!', ..])
    {
        return buffer.to_vec(py);
    }
    // A length is a hint, and may be beyond any memory: the vector grows by what really comes.
    let mut found = Vec::with_capacity(ids.len().unwrap_or(0).min(1 << 16));
    for (position, id) in ids.try_iter()?.enumerate() {
        found.push(one(&id?, Some(position))?);
    }
    Ok(found)
}
