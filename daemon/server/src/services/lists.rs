//! What the lists of the services have in common: which part of one is asked for, and a page of it.

/// A place in a list: a score, and an id among those of the same score.
pub type ListPosition<I> = (i64, I);

/// The part of a list that is asked for.
pub struct ListRange<I> {
    /// How many items at most.
    pub limit: u32,
    /// The place after which it begins; `None` for the beginning of the list.
    pub after: Option<ListPosition<I>>,
}

/// A page of a list, newest items first.
pub struct Listed<T, I> {
    pub items: Vec<T>,
    /// The place after which the next page begins; `None` on the last one.
    pub next: Option<ListPosition<I>>,
}
