//! A node finds the server that takes changes when another one becomes it.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_takes_nothing_with_it_that_was_accepted() -> Outcome {
    // Its default would answer before the standby has it: a node asks for more.
    let Some(mut primary) = server(Options::throw_away())? else {
        return Ok(());
    };
    let standby = Server::standby_of(&primary, Options::throw_away())?;
    let url = primary.url_with(&standby, DATABASE);
    let node = Arc::new(Node::open(&url, 1, |_| {}).await?);

    let crowd = Crowd::start(&node, 64);
    tokio::time::sleep(Duration::from_millis(700)).await;
    tokio::task::block_in_place(|| primary.kill())?;
    // While there is none that takes changes, who asks hears so.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (_, answer, took) = node.accept_one().await;
    assert_is_busy(&answer);
    assert!(took < BOUND, "{took:?}");
    let read = node.find(JobId::new(START, &*node.entropy)).await;
    assert_is_busy(&read);

    tokio::task::block_in_place(|| standby.promote())?;
    let last = node.goes_on().await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut asked = crowd.end().await?;
    asked.accepted.push(last);
    assert!(asked.turned_away > 0);
    asked.check(&standby.url(DATABASE))?;
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_one_no_more_is_left_for_the_one_that_is() -> Outcome {
    let Some(primary) = server(Options::throw_away())? else {
        return Ok(());
    };
    let standby = Server::standby_of(&primary, Options::throw_away())?;
    let url = primary.url_with(&standby, DATABASE);
    let node = Node::open(&url, 1, |_| {}).await?;
    let first = node.goes_on().await?;

    // It goes on answering, as when an operator has demoted it without closing connections.
    primary.query("ALTER SYSTEM SET default_transaction_read_only = on")?;
    primary.query("SELECT pg_reload_conf()")?;
    let begun = Instant::now();
    while node.accept_one().await.1.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it is read only");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_is_busy(&node.accept_one().await.1);
    tokio::task::block_in_place(|| standby.promote())?;
    let second = node.goes_on().await?;
    // What is read comes from there too, not from where it was read before.
    let known = standby.url(DATABASE);
    let known = testbed::client::query(&known, "SELECT job_id FROM writes ORDER BY seq")?;
    let known: HashSet<String> = known.into_iter().flatten().collect();
    for job_id in [first, second] {
        assert!(known.contains(&job_id.to_string()));
        assert!(node.find(job_id).await?.is_some());
    }
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lost_its_standby_to_others_is_left_for_it() -> Outcome {
    let Some(primary) = server(Options::throw_away())? else {
        return Ok(());
    };
    let standby = Server::standby_of(&primary, Options::throw_away())?;
    let url = primary.url_with(&standby, DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let node = Arc::new(Node::open(&url, 1, hurry).await?);
    let crowd = Crowd::start(&node, 16);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // As when the network between them is cut: the one that was the primary still takes changes, and never has them confirmed.
    tokio::task::block_in_place(|| standby.promote())?;
    let url = standby.url(DATABASE);
    let begun = Instant::now();
    loop {
        let job_id = node.goes_on().await?;
        let sql = format!("SELECT 1 FROM writes WHERE job_id = '{job_id}'");
        if !testbed::client::query(&url, &sql)?.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it is left");
    }
    let asked = crowd.end().await?;
    asked.check(&url)?;
    node.store.close().await;
    Ok(())
}
