//! Records that Python gets as named tuples. Where a record is made per accept it is a plain tuple: see
//! `docs/decisions.md`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use verve_core::Batch;

/// A class of named tuples.
pub struct Record {
    name: &'static str,
    fields: &'static [&'static str],
    doc: &'static str,
    class: PyOnceLock<Py<PyAny>>,
}

impl Record {
    const fn new(name: &'static str, fields: &'static [&'static str], doc: &'static str) -> Self {
        Self { name, fields, doc, class: PyOnceLock::new() }
    }

    fn class<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let made = self.class.get_or_try_init(py, || {
            let options = PyDict::new(py);
            options.set_item("module", "verve._verve")?;
            let named = py.import("collections")?.getattr("namedtuple")?;
            let class = named.call((self.name, self.fields), Some(&options))?;
            class.setattr("__doc__", self.doc)?;
            Ok::<_, PyErr>(class.unbind())
        })?;
        Ok(made.bind(py))
    }

    /// A record with the values of its fields in order.
    pub fn of<'py>(
        &self,
        py: Python<'py>,
        values: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.class(py)?.call1(values.into_pyobject(py)?)
    }
}

pub static BODY_PART: Record =
    Record::new("BodyPart", &["exchange", "data"], "A pulled part of the body of an exchange.");
pub static CALLBACK_REPORTS: Record = Record::new(
    "CallbackReports",
    &["reports", "left_out"],
    "The attempts at callbacks since the last look, and the number of unlogged ones by outcome.",
);
pub static GROUP: Record = Record::new(
    "Group",
    &["window_start", "shard", "members"],
    "Ids of a shard of a window, each as the 8 bytes of a little-endian int64.",
);
pub static IDS_PIECE: Record = Record::new(
    "IdsPiece",
    &["groups", "following"],
    "Some ids of a window, and the position to continue at; None at the end.",
);
pub static LISTENER_FIGURES: Record = Record::new(
    "ListenerFigures",
    &["connections", "accept_lane", "hyper_lane", "other"],
    "Open connections; accepts in the accept lane and under hyper; other requests.",
);
pub static WINDOW_SHARE: Record = Record::new(
    "WindowShare",
    &["window_start", "new"],
    "The ids of a batch that were new in a window.",
);

/// A list of `WindowShare` for Python.
pub fn shares_for_python<'py>(py: Python<'py>, batch: &Batch) -> PyResult<Vec<Bound<'py, PyAny>>> {
    batch.shares.iter().map(|share| WINDOW_SHARE.of(py, (share.window_start, share.new))).collect()
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let all = [&BODY_PART, &CALLBACK_REPORTS, &GROUP, &IDS_PIECE, &LISTENER_FIGURES, &WINDOW_SHARE];
    for record in all {
        module.add(record.name, record.class(module.py())?)?;
    }
    Ok(())
}
