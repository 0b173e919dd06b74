//! Rules that are left out one at a time, to show that the proof needs them.

/// A protocol that is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// `complete` does not raise `changes`.
    CompletionsAreNoChanges,
    /// `commit` notes the changes of its own time, not those of `fix`.
    CommitNotesTheChangesOfItsOwnTime,
    /// `commit` asks who is complete when it is called, not who was at `fix`.
    CompletenessIsJudgedAtCommit,
    /// `commit` looks neither at the token nor at the revision nor at the count.
    CommitsUnchecked,
    /// A host adds the ids of a window whose sets have expired.
    AddsAfterExpiry,
    /// A new leader trusts the marker that the one before it placed.
    TrustsAnothersMarker,
    /// A leader trusts a marker that it placed after the start of the window.
    TrustsALateMarker,
    /// The epochs are not compared after the count.
    EpochsAreNotCompared,
    /// In a full send the marker goes in behind the ids.
    MarkerGoesInBehindTheIds,
    /// `commit` takes a sum although a marker became known after `fix`.
    MarkersMayComeUpDuringTheSum,
    /// Markers have their names in the hash `state` only, not beside each set.
    NamesAreInTheStateOnly,
    /// The token is the host's, whichever of its leaders took it.
    TokenNamesTheHost,
    /// `complete`, `begin` and the note of a marker do without the registration of the host.
    ScriptsTakeAnyState,
    /// `begin` and `commit` do not ask which master they run on.
    ScriptsTakeAnyMaster,
    /// The line of a host does not tell which leader renewed it.
    LineNamesNoTerm,
    /// A leader does not look whether its registrations are still there.
    RegistrationIsNotWatched,
    /// `restore` puts back `published_changes` of a count of changes that is lost.
    RestoreAsksForNoRevision,
    /// After a loss the leader adds its marker again, and goes on to trust it.
    MarkerIsPlacedAgain,
    /// After a loss the leaders commit at once.
    NoPause,
    /// A host that starts commits at once, as if it knew that nothing was just lost.
    StartsWithoutPause,
    /// A late host releases its ids for a complete record that was made without it.
    ReleasesBeforeCompletion,
}

/// The flaw of a model, if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flaws(pub Option<Flaw>);

impl Flaws {
    /// Whether `flaw` is the one.
    pub fn has(self, flaw: Flaw) -> bool {
        self.0 == Some(flaw)
    }
}
