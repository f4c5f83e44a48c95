//! What becomes of a crawl when the process ends in its middle (known failures
//! R4 and R16).

use rosterd::sync::poller::Page;
use tokio::sync::Notify;

use super::world::Token;
use super::*;

type Shared = Arc<Mutex<World>>;

/// Six users, and two groups of one member each: ten items.
fn populated() -> Shared {
    let mut world = World::default();
    (0..6).for_each(|user| world.apply(&Op::PutUser(user, 0)));
    for group in 0..2 {
        world.apply(&Op::PutGroup(group, 0));
        world.apply(&Op::AddMember(group, Member::User(group)));
    }
    Arc::new(Mutex::new(world))
}

fn manner() -> Manner {
    Manner::new(LENS, Limits::default())
}

fn log_of(folder: &Path) -> std::path::PathBuf {
    folder.join("checkpoints").join("corp.crawl")
}

/// Where crawls started since the last time.
fn starts(world: &Shared) -> Vec<Start> {
    std::mem::take(&mut world.lock().unwrap().starts)
}

/// In words.
fn kinds(world: &Shared) -> Vec<&'static str> {
    let kind = |start: &Start| match start {
        Start::Full => "full",
        Start::Incremental(_) => "incremental",
        Start::Resume(_) => "resume",
    };
    starts(world).iter().map(kind).collect()
}

/// A first crawl that was cut short after three items, in another process.
async fn interrupted(folder: &Path, world: &Shared) -> Parts {
    cut_short(open(folder, world, manner()), world, 3).await;
    assert!(log_of(folder).exists());
    assert_eq!(kinds(world), ["full"]);
    open(folder, world, manner())
}

async fn sync_exactly(parts: &Parts, world: &Shared) {
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), world.lock().unwrap().roster());
}

#[test]
fn r16_a_restart_at_every_checkpoint_of_a_crawl_goes_on_there() {
    block_on(async {
        let world = populated();
        let items = world.lock().unwrap().everything().len() as u8;
        assert_eq!(items, 10);
        for at in 1..=items {
            let folder = tempfile::tempdir().unwrap();
            let parts = open(folder.path(), &world, manner());
            cut_short(parts, &world, at).await;
            assert_eq!(kinds(&world), ["full"]);
            let parts = open(folder.path(), &world, manner());
            sync_exactly(&parts, &world).await;
            assert_eq!(kinds(&world), ["resume"], "cut short at {at}");
            // The last page before the end is handed over again.
            let crawl = parts.statuses.get("corp").unwrap().last_crawl.clone().unwrap();
            assert_eq!(crawl.pages, u64::from(items) + 1, "cut short at {at}");
            assert!(parts.ledger.progress("corp").full_at.is_some());
            assert!(!log_of(folder.path()).exists(), "the log outlives its crawl");
            parts.close().await;
        }
    });
}

#[test]
fn r16_one_crawl_that_is_cut_short_again_and_again_ends() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        for at in 1..=10 {
            cut_short(open(folder.path(), &world, manner()), &world, at).await;
        }
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
        let kinds = kinds(&world);
        assert_eq!((kinds[0], &kinds[1..]), ("full", ["resume"; 10].as_slice()));
        // Each process repeats one page.
        let crawl = parts.statuses.get("corp").unwrap().last_crawl.clone().unwrap();
        assert_eq!(crawl.pages, 10 + 10);
    });
}

#[test]
fn r4_a_first_crawl_that_died_half_way_is_not_followed_by_an_incremental_one() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let parts = interrupted(folder.path(), &world).await;
        assert_eq!(parts.ledger.progress("corp").cursor, None);
        // The provider does not know the token any more.
        world.lock().unwrap().apply(&Op::PutUser(7, 0));
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["resume", "full"]);
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["incremental"]);
    });
}

#[test]
fn an_incremental_crawl_that_goes_on_is_still_incremental() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
        let full_at = parts.ledger.progress("corp").full_at;
        (0..3).for_each(|user| world.lock().unwrap().apply(&Op::PutUser(user, 2)));
        cut_short(parts, &world, 2).await;
        assert_eq!(kinds(&world), ["full", "incremental"]);
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["resume"]);
        let crawl = parts.statuses.get("corp").unwrap().last_crawl.clone().unwrap();
        assert_eq!(crawl.extent, Extent::Changes);
        assert_eq!(parts.ledger.progress("corp").full_at, full_at);
    });
}

#[test]
fn other_settings_invalidate_checkpoints_and_cursors() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let parts = interrupted(folder.path(), &world).await;
        parts.close().await;
        world.lock().unwrap().fingerprint = "another account".to_owned();
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["full"], "went on with what somebody else saw");
        parts.close().await;
        world.lock().unwrap().fingerprint = "a third account".to_owned();
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["full"], "used the cursor of somebody else");
    });
}

#[test]
fn a_commit_invalidates_what_was_compared_with_the_state_before() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        interrupted(folder.path(), &world).await.close().await;
        let log = std::fs::read(log_of(folder.path())).unwrap();
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
        parts.close().await;
        // As if removing the log had not reached the disk.
        std::fs::write(log_of(folder.path()), log).unwrap();
        kinds(&world);
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["incremental"]);
        assert!(!log_of(folder.path()).exists());
    });
}

#[test]
fn a_plan_neither_uses_nor_harms_a_checkpoint() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let parts = interrupted(folder.path(), &world).await;
        let log = std::fs::read(log_of(folder.path())).unwrap();
        parts.poller.remote().plan(first_page()).await.unwrap();
        world.lock().unwrap().mode = Some(Mode::Breaks(5));
        parts.poller.remote().plan(first_page()).await.unwrap_err();
        assert_eq!(std::fs::read(log_of(folder.path())).unwrap(), log);
        assert_eq!(kinds(&world), ["full", "full"]);
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["resume"]);
    });
}

#[test]
fn a_crawl_that_fails_for_good_leaves_no_checkpoint() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let parts = interrupted(folder.path(), &world).await;
        world.lock().unwrap().mode = Some(Mode::Panics(5));
        parts.sync().await.unwrap_err();
        assert!(!log_of(folder.path()).exists());
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["resume", "full"]);
    });
}

#[test]
fn r16_a_crawl_that_stalled_goes_on_where_it_was() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let hour = std::time::Duration::from_secs(3600);
        let mut manner = Manner { checkpoint_every: hour, ..manner() };
        manner.patience.stall_timeout = std::time::Duration::from_millis(50);
        let parts = open(folder.path(), &world, manner);
        world.lock().unwrap().mode = Some(Mode::Hangs(4));
        let error = parts.sync().await.unwrap_err();
        assert!(error.contains("made no progress"), "{error}");
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["full", "resume"]);
    });
}

#[test]
fn a_crawl_writes_nothing_until_it_must() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let hour = std::time::Duration::from_secs(3600);
        let manner = Manner { checkpoint_every: hour, ..manner() };
        let parts = open(folder.path(), &world, manner);
        sync_exactly(&parts, &world).await;
        assert!(!folder.path().join("checkpoints").exists(), "a short crawl wrote");
        (0..3).for_each(|user| world.lock().unwrap().apply(&Op::PutUser(user, 2)));
        cut_short(parts, &world, 2).await;
        assert!(log_of(folder.path()).exists(), "stopping lost what was read");
    });
}

#[test]
fn what_cannot_be_read_or_written_fails_no_crawl() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let parts = interrupted(folder.path(), &world).await;
        std::fs::write(log_of(folder.path()), "rosterd crawl 1\nbut damaged").unwrap();
        sync_exactly(&parts, &world).await;
        assert_eq!(kinds(&world), ["full"]);
        parts.close().await;
        std::fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
        std::fs::write(folder.path().join("checkpoints"), "no folder").unwrap();
        world.lock().unwrap().apply(&Op::PutUser(8, 0));
        let parts = open(folder.path(), &world, manner());
        sync_exactly(&parts, &world).await;
    });
}

fn first_page() -> Page {
    Page { of: None, offset: 0, limit: 100 }
}

#[test]
fn a_plan_beside_a_crawl_that_waits_leaves_it_its_place() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), populated());
        let parts = open(folder.path(), &world, manner());
        world.lock().unwrap().mode = Some(Mode::Breaks(3));
        parts.sync().await.unwrap_err();
        parts.poller.remote().plan(first_page()).await.unwrap();
        world.lock().unwrap().mode = Some(Mode::Breaks(5));
        parts.poller.remote().plan(first_page()).await.unwrap_err();
        assert_eq!(kinds(&world), ["full", "full", "full"]);
        sync_exactly(&parts, &world).await;
        match &starts(&world)[..] {
            [Start::Resume(token)] => assert_eq!(Token::read(token).done, 3, "the plan's place"),
            other => panic!("{other:?}"),
        }
    });
}

/// Half of eight users are removed, and held; the id of that set.
async fn half_is_held(parts: &Parts, world: &Shared) -> String {
    (0..8).for_each(|user| world.lock().unwrap().apply(&Op::PutUser(user, 0)));
    parts.sync().await.unwrap();
    (0..4).for_each(|user| world.lock().unwrap().apply(&Op::DeleteUser(user)));
    parts.sync().await.unwrap();
    parts.ledger.progress("corp").hold.expect("half of all users are held").id
}

fn users_deleted(parts: &Parts) -> usize {
    told(parts).iter().filter(|(kind, _)| *kind == EventKind::UserDeleted).count()
}

/// The next crawl gives no sign of life until it is abandoned.
fn hanging(world: &Shared) -> Arc<Notify> {
    let mut world = world.lock().unwrap();
    world.mode = Some(Mode::Hangs(0));
    world.hangs.clone()
}

#[test]
fn an_approval_during_a_crawl_stands_and_is_applied_once() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), Shared::default());
        let parts = open(folder.path(), &world, Manner::new(LENS, strict()));
        let id = half_is_held(&parts, &world).await;
        let hangs = hanging(&world);
        let remote = parts.poller.remote();
        remote.nudge();
        hangs.notified().await;
        remote.approve(&id, Caller::daemon()).await.unwrap();
        assert_eq!(parts.roster(), world.lock().unwrap().roster(), "applied");
        let again = remote.approve(&id, Caller::daemon()).await.unwrap_err();
        assert!(matches!(again, HoldError::NothingHeld { .. }), "{again}");
        // The crawl was compared with what was there before, so it is done anew.
        let patience = std::time::Duration::from_secs(60);
        tokio::time::timeout(patience, sync_exactly(&parts, &world)).await.expect("a new crawl");
        assert_eq!(users_deleted(&parts), 4);
    });
}

#[test]
fn an_approval_during_a_plan_ends_the_crawl_that_waited() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), Shared::default());
        let parts = open(folder.path(), &world, Manner::new(LENS, strict()));
        let id = half_is_held(&parts, &world).await;
        world.lock().unwrap().apply(&Op::PutUser(9, 0));
        world.lock().unwrap().mode = Some(Mode::Breaks(1));
        parts.sync().await.unwrap_err();
        kinds(&world);
        let hangs = hanging(&world);
        let (remote, other) = (parts.poller.remote(), parts.poller.remote());
        let approval = async {
            hangs.notified().await;
            other.approve(&id, Caller::daemon()).await
        };
        let (plan, approval) = tokio::join!(remote.plan(first_page()), approval);
        plan.unwrap_err();
        approval.unwrap();
        sync_exactly(&parts, &world).await;
        let kinds = kinds(&world);
        assert!(!kinds.contains(&"resume"), "went on beside another picture: {kinds:?}");
        assert_eq!(users_deleted(&parts), 4);
    });
}

#[test]
fn a_provider_that_answers_again_has_recovered_though_everything_is_held() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), Shared::default());
        let manner = Manner { on_hold: OnHold::HoldAll, ..Manner::new(LENS, strict()) };
        let parts = open(folder.path(), &world, manner);
        half_is_held(&parts, &world).await;
        let before = told(&parts).len();
        for _ in 0..2 {
            world.lock().unwrap().mode = Some(Mode::Breaks(0));
            parts.sync().await.unwrap_err();
            parts.sync().await.unwrap();
        }
        let news: Vec<EventKind> = told(&parts).drain(before..).map(|(kind, _)| kind).collect();
        assert_eq!(news, [EventKind::DirectoryFailing, EventKind::DirectoryRecovered].repeat(2));
        let held = parts.poller.remote().held(first_page()).await.unwrap();
        assert_eq!((held.total, held.unlisted), (4, None));
    });
}

#[test]
fn a_whole_hold_is_shown_right_after_a_restart_and_listed_after_a_poll() {
    block_on(async {
        let (folder, world) = (tempfile::tempdir().unwrap(), Shared::default());
        let manner = Manner { on_hold: OnHold::HoldAll, ..Manner::new(LENS, strict()) };
        let parts = open(folder.path(), &world, manner);
        let id = half_is_held(&parts, &world).await;
        let before = parts.poller.remote().held(first_page()).await.unwrap();
        assert_eq!((before.total, before.unlisted.as_deref()), (4, None));
        parts.close().await;
        let parts = open(folder.path(), &world, manner);
        let remote = parts.poller.remote();
        let shown = remote.held(first_page()).await.unwrap();
        assert_eq!(shown.summary, before.summary, "what is held and why");
        assert_eq!((shown.rows, shown.total), (Vec::new(), 0));
        let why = shown.unlisted.expect("a reason");
        assert!(why.contains("listed and approved when the directory has been read"), "{why}");
        let refused = remote.approve(&id, Caller::daemon()).await.unwrap_err();
        assert!(matches!(refused, HoldError::NotReadAgain { .. }), "{refused}");
        parts.sync().await.unwrap();
        assert_eq!(remote.held(first_page()).await.unwrap(), before);
        remote.approve(&id, Caller::daemon()).await.unwrap();
        assert_eq!(parts.roster(), world.lock().unwrap().roster());
    });
}
