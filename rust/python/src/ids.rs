//! Reads ids from Python objects: all are read before the first is counted.
//!
//! An input that could be read in more than one way is refused. A buffer of native signed 64-bit
//! integers is copied; every other accepted input gives its items one by one, each an integer by
//! `__index__`.

use std::time::{Duration, Instant};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyMemoryView, PySlice, PyString};

use crate::errors;

/// Items that an iterable may give beyond the length that it states: 512 MiB of ids.
const UNSTATED: usize = 1 << 26;
/// Ids of a buffer that are copied between two checks for signals: a few milliseconds.
const PIECE: usize = 1 << 20;
/// Items between two checks for signals.
const STRIDE: usize = 1 << 12;
/// How long other threads wait for the GIL, as in Python's own loop.
const SWITCH: Duration = Duration::from_millis(5);

/// One id.
pub fn one(id: &Bound<'_, PyAny>, position: Option<usize>) -> PyResult<i64> {
    static INDEX: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = id.py();
    let index;
    let id = if let Ok(id) = id.cast::<PyInt>() {
        id
    } else {
        // Called once; its exception goes to the caller.
        let found = INDEX.import(py, "operator", "index")?.call1((id,))?;
        index = found.cast_into::<PyInt>()?;
        &index
    };
    id.extract().map_err(|_| {
        let shown = id.str().map_or_else(|_| "a huge integer".into(), |shown| shown.to_string());
        errors::bad_id(py, &shown.chars().take(60).collect::<String>(), position)
    })
}

/// Many ids: a buffer of integers (copied, so that no other thread changes them meanwhile), or an
/// iterable of integers.
pub fn many(ids: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let py = ids.py();
    if ids.is_instance_of::<PyString>()
        || ids.is_instance_of::<PyBytes>()
        || ids.is_instance_of::<PyByteArray>()
    {
        return Err(raw());
    }
    if ids.hasattr("__dataframe__")? {
        let kind = ids.get_type().name()?;
        return Err(wrong("a table is no batch", &kind.to_string(), "pass one of its columns"));
    }
    let items = declared(ids)?;
    if items == Declared::Nothing {
        return Ok(Vec::new());
    }
    let view = match PyMemoryView::from(ids) {
        Ok(view) => view,
        // Without that method, it is what Python raises for an object that is no buffer.
        Err(error)
            if error.is_instance_of::<PyTypeError>(py)
                && !ids.get_type().hasattr("__buffer__")? =>
        {
            return iterated(ids);
        }
        Err(error) => return Err(error),
    };
    let format: String = view.getattr("format")?.extract()?;
    let dimensions: usize = view.getattr("ndim")?.extract()?;
    let item_size: usize = view.getattr("itemsize")?.extract()?;
    if item_size == 1 && items == Declared::No {
        return Err(raw());
    }
    if view.getattr("nbytes")?.extract::<usize>()? == 0 {
        return Ok(Vec::new());
    }
    if dimensions == 0 {
        return Err(wrong("a single value is no batch", &format, "`add` counts one id"));
    }
    if ids.hasattr("mask")? {
        return Err(wrong("a masked array hides some of its items", &format, "`.compressed()`"));
    }
    let (order, code) = format.split_at(format.len().saturating_sub(1));
    let is_native = matches!(order, "" | "@" | "=");
    // Of explicit orders PyO3 takes the wrong one for native.
    if is_native && let Ok(buffer) = PyBuffer::<i64>::get(&view) {
        return copied(&view, &buffer);
    }
    // A memoryview returns its items in the machine's own form only.
    let is_readable = if ids.is_instance_of::<PyMemoryView>() {
        matches!(order, "" | "@") && "hHiIlLqQnN".contains(code)
    } else {
        (is_native || matches!(order, "<" | ">" | "!")) && "bBhHiIlLqQnNO".contains(code)
    };
    if !is_readable || dimensions > 1 {
        let hint = "cast it to int64, such as by `numpy.asarray(ids).astype(numpy.int64)`";
        return Err(wrong("a buffer of ids holds integers, in one dimension", &format, hint));
    }
    // While it is held, an array behind it cannot grow.
    drop(view);
    iterated(ids)
}

/// The type of its items that an object states.
#[derive(PartialEq)]
enum Declared {
    /// Nothing.
    No,
    /// Integers, or objects.
    Integers,
    /// Another type, but there are no items.
    Nothing,
}

/// Refuses an object that states another type than integers, as arrays of numpy and pandas do.
fn declared(ids: &Bound<'_, PyAny>) -> PyResult<Declared> {
    let Some(declared) = ids.getattr_opt("dtype")? else {
        let is_array = ids.hasattr("typecode")?;
        return Ok(if is_array { Declared::Integers } else { Declared::No });
    };
    let is_integer = if let Some(kind) = declared.getattr_opt("kind")? {
        kind.extract::<String>().is_ok_and(|kind| matches!(&*kind, "i" | "u" | "O"))
    } else if let Some(is_integer) = declared.getattr_opt("is_integer")? {
        // That of polars.
        is_integer.call0()?.is_truthy()?
    } else {
        true
    };
    if is_integer {
        return Ok(Declared::Integers);
    }
    // `numpy.array([])` holds floats, and none that could be misread.
    if ids.len()? == 0 {
        return Ok(Declared::Nothing);
    }
    let hint = "cast it to int64 if its values are ids";
    Err(wrong("ids are integers", &declared.str()?.to_string(), hint))
}

fn raw() -> PyErr {
    PyTypeError::new_err(
        "ids come as a buffer of int64 or as an iterable of integers, not as text or bytes; hint: \
         `memoryview(data).cast(\"q\")`",
    )
}

fn wrong(problem: &str, format: &str, hint: &str) -> PyErr {
    PyTypeError::new_err(format!("{problem}: `{format}`; hint: {hint}"))
}

fn memory(count: usize) -> PyErr {
    PyMemoryError::new_err(format!("no memory for so many ids: `{count}`; hint: add them in parts"))
}

fn copied(view: &Bound<'_, PyAny>, buffer: &PyBuffer<i64>) -> PyResult<Vec<i64>> {
    let py = view.py();
    let count = buffer.item_count();
    let mut found = Vec::new();
    found.try_reserve_exact(count).map_err(|_| memory(count))?;
    // Only a buffer of one dimension can be read in parts.
    let piece = if buffer.dimensions() == 1 { PIECE } else { count.max(1) };
    for start in (0..count).step_by(piece) {
        let end = count.min(start + piece);
        found.resize(end, 0);
        if piece == count {
            buffer.copy_to_slice(py, &mut found)?;
        } else {
            let part = view.get_item(PySlice::new(py, start as isize, end as isize, 1))?;
            PyBuffer::get(&part)?.copy_to_slice(py, &mut found[start..end])?;
        }
        // Other threads may take the GIL: the buffer stays while it is held here.
        py.detach(|| ());
        py.check_signals()?;
    }
    Ok(found)
}

/// The items of an iterable. It may be endless, and may run without Python's own loop: signals are
/// checked here, and other threads get the GIL.
fn iterated(ids: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let py = ids.py();
    let items = ids.try_iter()?;
    let stated = if ids.get_type().hasattr("__len__")? { ids.len()? } else { 0 };
    let most = stated.max(UNSTATED);
    let mut found = Vec::new();
    // A length is a hint, and may be beyond any memory: the vector grows with the actual items.
    found.try_reserve(stated.min(1 << 16)).map_err(|_| memory(stated))?;
    let mut switched = Instant::now();
    for (position, id) in items.enumerate() {
        let id = one(&id?, Some(position))?;
        if position.is_multiple_of(STRIDE) {
            if position >= most {
                return Err(PyMemoryError::new_err(format!(
                    "an iterable gave more ids than are read at once: `{most}`; hint: add them in \
                     parts, such as those of `itertools.batched`"
                )));
            }
            py.check_signals()?;
            if switched.elapsed() >= SWITCH {
                py.detach(|| ());
                switched = Instant::now();
            }
        }
        if found.len() == found.capacity() {
            found.try_reserve(1).map_err(|_| memory(position))?;
        }
        found.push(id);
    }
    Ok(found)
}
