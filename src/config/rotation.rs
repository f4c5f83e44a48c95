//! Replaces what a secret file holds, whole or not at all.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::source;
use crate::secret::Secret;

/// Behind the name of the file while it is being replaced.
const DRAFT: &str = ".rotating";

/// Puts what `renew` makes of the secrets in the file at `path` in their place,
/// with the same mode and owner. Whoever reads the file meanwhile finds the old
/// ones or the new ones, also after a crash. Where `path` is a link, the file it
/// leads to is replaced; its path is returned.
///
/// # Errors
/// Why nothing was replaced, in words.
pub fn replace_secret(
    path: &Path,
    renew: impl FnOnce(&Secret) -> Result<Secret, String>,
) -> Result<PathBuf, String> {
    let fails = |verb: &str, path: &Path, reason: std::io::Error| {
        format!("cannot {verb} {}: {}", path.display(), source::reason(&reason))
    };
    let target = path.canonicalize().map_err(|error| fails("find", path, error))?;
    // Made before the old secrets are read, so it locks others out.
    let draft = Draft::create(beside(&target))?;
    let old = source::read_secret_file(&target)?;
    let new = renew(&old)?;
    draft
        .fill(&new, &target)
        .and_then(|()| std::fs::rename(&draft.path, &target))
        .map_err(|error| fails("replace", &target, error))?;
    draft.keep();
    sync_folder(&target).map_err(|error| fails("sync the folder of", &target, error))?;
    Ok(target)
}

fn beside(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(DRAFT);
    target.with_file_name(name)
}

/// The new content on its way; removed when it does not arrive.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn create(path: PathBuf) -> Result<Draft, String> {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match created {
            Ok(file) => Ok(Draft { path, file }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(format!(
                "{} exists: either the secret is being rotated right now, or that was \
                 interrupted and the file can be removed",
                path.display()
            )),
            Err(error) => {
                Err(format!("cannot write {}: {}", path.display(), source::reason(&error)))
            }
        }
    }

    fn fill(&self, content: &Secret, target: &Path) -> std::io::Result<()> {
        let old = std::fs::metadata(target)?;
        let mut file = &self.file;
        file.write_all(content.expose().as_bytes())?;
        file.write_all(b"\n")?;
        take_over(file, &old)?;
        file.sync_all()
    }

    /// The file has its new name, and stays.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // The reason why it did not arrive matters more.
        let _left_behind = std::fs::remove_file(&self.path);
    }
}

/// The owner first: changing it takes bits of the mode away.
fn take_over(file: &File, old: &Metadata) -> std::io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
}

fn sync_folder(target: &Path) -> std::io::Result<()> {
    match target.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(word: &str) -> impl FnOnce(&Secret) -> Result<Secret, String> {
        move |old| Ok(Secret::new(format!("{word}\n{}", old.expose())))
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_a_link_leads_to_is_replaced_and_keeps_its_mode_and_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, linked) = (dir.path().join("kept"), dir.path().join("linked"));
        std::fs::write(&kept, "old\n").unwrap();
        std::fs::set_permissions(&kept, Permissions::from_mode(0o640)).unwrap();
        // Only root can give files away; others have nothing to prove here.
        let owner = match std::os::unix::fs::chown(&kept, Some(4711), Some(4712)) {
            Ok(()) => (4711, 4712),
            Err(_) => kept.metadata().map(|meta| (meta.uid(), meta.gid())).unwrap(),
        };
        std::os::unix::fs::symlink("kept", &linked).unwrap();
        let before = kept.metadata().unwrap().ino();
        let target = replace_secret(&linked, add("new")).unwrap();
        assert_eq!(target, kept.canonicalize().unwrap());
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "new\nold\n");
        let meta = kept.metadata().unwrap();
        assert_ne!(meta.ino(), before, "the old file was written to");
        assert_eq!((meta.mode() & 0o7777, (meta.uid(), meta.gid())), (0o640, owner));
        assert!(linked.symlink_metadata().unwrap().is_symlink());
        assert_eq!(names(dir.path()), ["kept", "linked"]);
    }

    #[test]
    fn what_goes_wrong_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(replace_secret(&path, add("new")).unwrap_err().contains("no such file"));
        std::fs::write(&path, "old\n").unwrap();
        let refused = replace_secret(&path, |_| Err("no randomness".to_owned()));
        assert_eq!(refused.unwrap_err(), "no randomness");
        let nested = replace_secret(&path, |old| {
            replace_secret(&path, add("inner")).map(|_| Secret::new(old.expose().to_owned()))
        });
        assert!(nested.unwrap_err().contains("is being rotated right now"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\n");
        assert_eq!(names(dir.path()), ["secret"]);
    }
}
