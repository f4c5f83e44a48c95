//! An array that versions share: changing one place copies one page of it.

use std::sync::Arc;

const PAGE: usize = 64;

/// Places never set hold `T::default()`.
#[derive(Clone, Debug)]
pub(super) struct Paged<T> {
    pages: Vec<Arc<[T; PAGE]>>,
}

impl<T> Default for Paged<T> {
    fn default() -> Paged<T> {
        Paged { pages: Vec::new() }
    }
}

impl<T: Clone + Default> Paged<T> {
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    pub fn set(&mut self, index: usize, value: T) {
        while self.pages.len() <= index / PAGE {
            self.pages.push(Arc::new(std::array::from_fn(|_| T::default())));
        }
        if let Some(page) = self.pages.get_mut(index / PAGE) {
            Arc::make_mut(page)[index % PAGE] = value;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter())
    }
}
