//! Maps the core's error to the tree of Python exceptions, in one place.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyException, PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use verve_core::{Batch, Error, Rejection};

use crate::records::shares_for_python;

struct Tree {
    base: Py<PyType>,
    id: Py<PyType>,
    setting: Py<PyType>,
    segment: Py<PyType>,
    capacity: Py<PyType>,
    closed: Py<PyType>,
}

static TREE: PyOnceLock<Tree> = PyOnceLock::new();

/// Creates the exceptions and adds them to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // Calls `type` as a `class` statement does, since an exception may have two bases.
    let new = |name: &str, doc: &str, bases: &Bound<'_, PyTuple>| -> PyResult<Py<PyType>> {
        let namespace = PyDict::new(py);
        namespace.set_item("__module__", "verve")?;
        namespace.set_item("__doc__", doc)?;
        let exception = py.get_type::<PyType>().call1((name, bases, namespace))?;
        module.add(name, &exception)?;
        Ok(exception.cast_into::<PyType>()?.unbind())
    };
    let exception = PyTuple::new(py, [py.get_type::<PyException>()])?;
    let base = new("VerveError", "Base of all errors of Verve.", &exception)?;
    let plain = PyTuple::new(py, [base.bind(py)])?;
    let also_value = PyTuple::new(py, [base.bind(py), &py.get_type::<PyValueError>()])?;
    let tree = Tree {
        base: base.clone_ref(py),
        id: new(
            "IdError",
            "An id is no integer of 64 bits. `position` is its index in a batch, or None.",
            &also_value,
        )?,
        setting: new("SettingError", "An argument or a setting is out of its range.", &also_value)?,
        segment: new(
            "SegmentError",
            "The segment cannot be used. `reason` says why in a word (owner, mode, kind, format, \
             mismatch, no-slot, busy, io); `alive` tells whether a process lives in it.",
            &plain,
        )?,
        capacity: new(
            "CapacityError",
            "No room for the id. `reason` is full, space or arena; of a batch, `recorded` ids were \
             counted before, and `windows` says where.",
            &plain,
        )?,
        closed: new("ClosedError", "The counter was closed.", &plain)?,
    };
    let _ = TREE.set(py, tree);
    Ok(())
}

fn tree(py: Python<'_>) -> &Tree {
    TREE.get(py).expect("the module makes the exceptions before anything can fail")
}

fn instance(kind: &Py<PyType>, py: Python<'_>, message: &str) -> PyResult<Py<PyAny>> {
    kind.bind(py).call1((message,)).map(Bound::unbind)
}

fn raise(py: Python<'_>, exception: PyResult<Py<PyAny>>) -> PyErr {
    match exception {
        Ok(exception) => PyErr::from_value(exception.into_bound(py)),
        Err(error) => error,
    }
}

/// Runs `work` of the core. A panic, which means a bug or a damaged segment, becomes a
/// `VerveError`, since `except Exception` does not catch a `PanicException`.
#[inline]
pub fn caught<T>(py: Python<'_>, work: impl FnOnce() -> T) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panicked(py, &*panic))
}

#[cold]
fn panicked(py: Python<'_>, panic: &(dyn Any + Send)) -> PyErr {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!(
        "the counter failed where it never should: `{}`; hint: restart all processes of this segment, \
         and report it",
        text.unwrap_or("no message")
    );
    raise(py, instance(&tree(py).base, py, &message))
}

/// The exception for an error of the core.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    let tree = tree(py);
    let exception = match error {
        Error::Setting { .. } | Error::Window { .. } => instance(&tree.setting, py, &message),
        Error::Segment { reason, alive, .. } => {
            instance(&tree.segment, py, &message).and_then(|exception| {
                exception.setattr(py, "reason", reason.name())?;
                exception.setattr(py, "alive", alive)?;
                Ok(exception)
            })
        }
        Error::Memory => return PyMemoryError::new_err(message),
        Error::Full | Error::Space(_) | Error::NoArena => capacity(py, error, 0, Vec::new()),
    };
    raise(py, exception)
}

/// The exception for a batch that filled the table.
pub fn stopped(py: Python<'_>, batch: &Batch, error: &Error) -> PyErr {
    let exception = shares_for_python(py, batch)
        .and_then(|windows| capacity(py, error, batch.recorded, windows));
    raise(py, exception)
}

fn capacity(
    py: Python<'_>,
    error: &Error,
    recorded: usize,
    windows: Vec<Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let reason = match Rejection::from(error) {
        Rejection::TableFull => "full",
        Rejection::NoArena => "arena",
        _ => "space",
    };
    let exception = instance(&tree(py).capacity, py, &error.to_string())?;
    exception.setattr(py, "reason", reason)?;
    exception.setattr(py, "recorded", recorded)?;
    exception.setattr(py, "windows", windows)?;
    Ok(exception)
}

/// The exception for an integer that is not an id.
pub fn bad_id(py: Python<'_>, shown: &str, position: Option<usize>) -> PyErr {
    let place = position.map_or(String::new(), |position| format!(" at position {position}"));
    let message = format!(
        "an id is an integer of 64 bits, from -2**63 to 2**63 - 1{place}: `{shown}`; hint: hash \
         larger keys to 64 bits first"
    );
    let exception = instance(&tree(py).id, py, &message).and_then(|exception| {
        exception.setattr(py, "position", position)?;
        Ok(exception)
    });
    raise(py, exception)
}

/// The exception for the use of a closed counter.
pub fn closed(py: Python<'_>) -> PyErr {
    raise(py, instance(&tree(py).closed, py, "the counter is closed"))
}
