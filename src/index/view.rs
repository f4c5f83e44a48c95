//! All directories at one seq.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::directory::DirectoryView;

/// Everything readers may know, at one seq. Immutable; cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The last event that this view includes.
    pub seq: u64,
    directories: BTreeMap<String, Arc<DirectoryView>>,
}

impl View {
    /// All directories at `seq`, as loaded at the start.
    pub fn new(directories: impl IntoIterator<Item = DirectoryView>, seq: u64) -> View {
        let named = |directory: DirectoryView| (directory.name().to_owned(), Arc::new(directory));
        View { seq, directories: directories.into_iter().map(named).collect() }
    }

    /// By configured name.
    pub fn directory(&self, name: &str) -> Option<&Arc<DirectoryView>> {
        self.directories.get(name)
    }

    /// In the order of their names.
    pub fn directories(&self) -> impl ExactSizeIterator<Item = &Arc<DirectoryView>> {
        self.directories.values()
    }

    /// The next view: this directory replaced or added, as of `seq`.
    #[must_use]
    pub fn with_directory(&self, directory: Arc<DirectoryView>, seq: u64) -> View {
        let mut directories = self.directories.clone();
        directories.insert(directory.name().to_owned(), directory);
        View { seq, directories }
    }

    /// The next view: this directory gone, as of `seq`.
    #[must_use]
    pub fn without_directory(&self, name: &str, seq: u64) -> View {
        let mut directories = self.directories.clone();
        directories.remove(name);
        View { seq, directories }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_and_go_without_touching_older_views() {
        let first = View::new([DirectoryView::empty("b", "t", "p")], 3);
        let second = first.with_directory(Arc::new(DirectoryView::empty("a", "t", "p")), 4);
        let third = second.without_directory("b", 5);
        let names = |view: &View| {
            view.directories().map(|directory| directory.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((names(&first), first.seq), (vec!["b".to_owned()], 3));
        assert_eq!((names(&second), second.seq), (vec!["a".to_owned(), "b".to_owned()], 4));
        assert_eq!((names(&third), third.seq), (vec!["a".to_owned()], 5));
        assert!(third.directory("b").is_none());
    }
}
