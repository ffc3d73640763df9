//! How long a node waits for a server, or another node, that stands still.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_brings_a_write_hears_in_time_whether_it_may_be_stored() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    // More than a caller has.
    let patient = |place: &mut Place| {
        place.writing.statement = PATIENCE;
        place.writing.answer = PATIENCE;
    };
    let node = Arc::new(Node::open(&server.url(DATABASE), 1, patient).await?);
    node.goes_on().await?;
    server.freeze()?;
    let accept = || {
        let node = node.clone();
        tokio::spawn(async move { node.accept_one().await })
    };
    let begun = accept();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (queued, answer, took) = accept().await?;
    assert!(matches!(answer, Err(Error::Busy)), "{answer:?}");
    assert!(took < BOUND, "{took:?}");
    let (begun, answer, took) = begun.await?;
    assert!(matches!(answer, Err(Error::InDoubt)), "{answer:?}");
    assert!(took < BOUND, "{took:?}");
    server.thaw()?;
    node.goes_on().await?;
    assert!(node.find(begun).await?.is_some(), "it was being stored");
    assert!(node.find(queued).await?.is_none(), "nothing was stored");
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_waited_for_so_long_and_no_longer() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| (place.writing, place.reading) = (HURRIED, HURRIED);
    let hurried = format!("{url}?connect_timeout=1");
    let node = Arc::new(Node::open(&hurried, 1, hurry).await?);
    let known = node.goes_on().await?;

    let crowd = Crowd::start(&node, 32);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.freeze()?;
    let mut reads = JoinSet::new();
    for _ in 0..16 {
        let node = node.clone();
        reads.spawn(async move {
            let begun = Instant::now();
            (node.find(known).await, begun.elapsed())
        });
    }
    while let Some(read) = reads.join_next().await {
        let (read, took) = read?;
        assert_is_busy(&read);
        assert!(took < BOUND, "{took:?}");
    }
    let (_, answer, took) = node.accept_one().await;
    assert!(took < BOUND, "{took:?}");
    assert_is_busy(&answer);
    server.thaw()?;
    node.goes_on().await?;
    let asked = crowd.end().await?;
    assert!(asked.turned_away > 0);
    asked.check(&url)?;

    // Closing waits no longer either.
    server.freeze()?;
    let waiting = {
        let node = node.clone();
        tokio::spawn(async move { node.accept_one().await.1 })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    node.store.close().await;
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_is_busy(&waiting.await?);
    assert!(matches!(node.find(known).await, Err(Error::Closed)));
    server.thaw()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_keeps_others_waiting_for_moments_only() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let stuck = Arc::new(Node::open(&url, 1, hurry).await?);
    let other = Node::open(&url, 2, hurry).await?;

    // In the middle of its turn.
    stuck.entropy.stands_still.store(true, Ordering::Release);
    let change = {
        let stuck = stuck.clone();
        tokio::spawn(async move { stuck.register().await })
    };
    let begun = Instant::now();
    while !stuck.entropy.is_still.load(Ordering::Acquire) {
        assert!(begun.elapsed() < PATIENCE, "it stands still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The other does not even hear of it, since it waits for longer than a node may lie still.
    let (_, answer, took) = other.accept_one().await;
    assert_eq!(answer?, Acceptance::Accepted);
    assert!(took < PATIENCE, "{took:?}");
    stuck.entropy.stands_still.store(false, Ordering::Release);
    let change = change.await?;
    assert!(
        matches!(change, Err(Error::Busy | Error::InDoubt)),
        "its turn was over: {change:?}"
    );
    stuck.goes_on().await?;
    other.goes_on().await?;
    let defaults = Patience::WRITING;
    assert!(defaults.idle < defaults.lock, "as in this test");
    stuck.store.close().await;
    other.store.close().await;
    Ok(())
}
