//! A node goes on when its connections are cut, and works with the few that it is given.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_nothing_and_double_nothing() -> Outcome {
    const CUTS: usize = 60;
    const TASKS: u8 = 16;
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let node = Arc::new(Node::open(&url, 1, |_| {}).await?);
    let is_over = Arc::new(AtomicBool::new(false));

    // Callers who repeat what they are not told of, under a key of each write's own.
    let mut callers = JoinSet::new();
    for task in 0..TASKS {
        let (node, is_over) = (node.clone(), is_over.clone());
        callers.spawn(async move {
            let mut jobs = Vec::new();
            for number in 0_u64.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let mut key_hash = [task; 32];
                key_hash[..8].copy_from_slice(&number.to_be_bytes());
                let once = Once {
                    key_hash,
                    fingerprint: [7; 32],
                    used_at: START,
                    expires_at: START.plus_millis(1_000_000),
                };
                let job_id = loop {
                    // Each time a new write, as a server makes one of each request.
                    let write = node.write();
                    let fresh = write.job_id;
                    let answer = node
                        .store
                        .write_accept(&node.by.scope, write, Some(once.clone()))
                        .await;
                    match answer {
                        Ok(Acceptance::Accepted) => break fresh,
                        Ok(Acceptance::Replayed { job_id, .. }) => break job_id,
                        Ok(Acceptance::Mismatch) => panic!("it is the same request"),
                        Ok(Acceptance::Erased { .. }) => panic!("nobody was forgotten"),
                        Err(why) => assert_is_turned_away(&why),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                };
                jobs.push(job_id);
            }
            jobs
        });
    }
    // A worker that records each outcome until it is recorded.
    let worker = {
        let (node, is_over) = (node.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut ended = 0;
            while !is_over.load(Ordering::Relaxed) {
                let ticket = match node.claim_one(START).await {
                    Ok(Some(ticket)) => ticket,
                    Ok(None) => continue,
                    Err(why) => {
                        assert_is_turned_away(&why);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        continue;
                    }
                };
                let finish = node.confirmed(ticket, &format!("x{}", ticket.seq), START);
                loop {
                    match node.store.attempt_finish(&finish).await {
                        Ok(status) => {
                            assert_eq!(status, WriteStatus::Success);
                            break;
                        }
                        Err(why) => assert_is_turned_away(&why),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                ended += 1;
            }
            ended
        })
    };
    // Where all are just coming back there is none to cut.
    let (begun, mut rounds, mut cuts) = (Instant::now(), 0, 0);
    while (rounds < CUTS || cuts < CUTS) && begun.elapsed() < PATIENCE {
        rounds += 1;
        cuts += tokio::task::block_in_place(|| cut(&url))?;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(cuts >= CUTS, "only {cuts} connections were cut");
    node.goes_on().await?;
    is_over.store(true, Ordering::Relaxed);
    let mut told = HashSet::new();
    while let Some(jobs) = callers.join_next().await {
        for job_id in jobs? {
            assert!(told.insert(job_id.to_string()), "{job_id} was told twice");
        }
    }
    let ended = worker.await?;
    assert!(ended > 0);

    // Beside what the callers were told there is the one write of `goes_on`.
    let value = |sql: &str| one_value(testbed::client::query(&url, sql)?);
    let stored = testbed::client::query(&url, "SELECT job_id FROM writes")?;
    let stored: HashSet<String> = stored.into_iter().flatten().collect();
    assert!(told.is_subset(&stored), "one that was told is lost");
    assert!(stored.len() > told.len());
    let unkeyed = "SELECT count(*) FROM writes w WHERE NOT EXISTS (SELECT 1 FROM idempotency i WHERE i.job_id = w.job_id)";
    assert_eq!(value(unkeyed)?, (stored.len() - told.len()).to_string());
    // A write is stored as a whole, and ends once, as a whole.
    let ended = ended.to_string();
    assert_eq!(
        value("SELECT count(*) FROM writes WHERE status = 'SUCCESS'")?,
        ended
    );
    assert_eq!(
        value("SELECT count(*) FROM records WHERE kind = 'prospect'")?,
        ended
    );
    let announced = "SELECT count(DISTINCT subject), count(*) FROM events WHERE subject IN (SELECT job_id FROM writes)";
    let announced = testbed::client::query(&url, announced)?;
    assert_eq!(announced, [[ended.clone(), ended.clone()]]);
    assert_eq!(
        value("SELECT count(*) FROM events WHERE kind = 'prospect' AND subject LIKE 'pro_%'")?,
        ended
    );
    let open = "SELECT count(*) FROM writes w LEFT JOIN queue q ON q.seq = w.seq WHERE (w.status = 'PENDING') <> (q.seq IS NOT NULL)";
    assert_eq!(value(open)?, "0");
    let keyed =
        "SELECT count(*) FROM queue q LEFT JOIN queue_order o ON o.seq = q.seq WHERE o.seq IS NULL";
    assert_eq!(value(keyed)?, "0");
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_free_connection_is_busy_until_it_has_one() -> Outcome {
    let Some(mut server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let own = "CREATE ROLE portico LOGIN PASSWORD 'a-password'";
    server.query(own)?;
    server.query(&format!("ALTER DATABASE {DATABASE} OWNER TO portico"))?;
    let url = format!(
        "postgres://portico:a-password@127.0.0.1:{}/{DATABASE}",
        server.port()
    );
    let node = Node::open(&url, 1, |_| {}).await?;
    let known = node.goes_on().await?;

    server.query("ALTER ROLE portico CONNECTION LIMIT 0")?;
    assert!(cut(&server.url(DATABASE))? > 0);
    let begun = Instant::now();
    while node.find(known).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "connections are cut");
    }
    for _ in 0..20 {
        let (_, answer, took) = node.accept_one().await;
        assert_is_busy(&answer);
        assert!(took < BOUND, "{took:?}");
        assert_is_busy(&node.find(known).await);
    }
    let refused = Node::open(&url, 2, |_| {}).await.err();
    let refused = refused.map(|why| why.to_string()).unwrap_or_default();
    assert!(refused.contains("too many connections"), "{refused}");
    assert!(!refused.contains("a-password"), "{refused}");

    server.query("ALTER ROLE portico CONNECTION LIMIT -1")?;
    node.goes_on().await?;
    assert!(node.find(known).await?.is_some());

    // A server that was restarted meanwhile is not noticed by the next callers, unless the node
    // itself looked while it was down, which a slow restart gives it the time for.
    let begun = Instant::now();
    loop {
        tokio::task::block_in_place(|| server.stop().and_then(|()| server.start_again()))?;
        let (_, answer, _) = node.accept_one().await;
        let mut is_unseen = answer.is_ok();
        for _ in 0..10 {
            is_unseen &= node.find(known).await.is_ok_and(|found| found.is_some());
        }
        if is_unseen {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "each restart is noticed");
        node.goes_on().await?;
    }
    node.store.close().await;
    Ok(())
}

/// Whether `listener` hears that `teller` has a write that is due, within [`PATIENCE`].
async fn hears(listener: &Node, teller: &Node) -> Outcome {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let signal = listener.store.signals().due();
        if teller.accept_one().await.1.is_ok() {
            let _ = tokio::time::timeout(Duration::from_millis(500), signal).await;
        }
        let due = listener.store.signals().take_due();
        if due.contains(&teller.integration_id) {
            return Ok(());
        }
    }
    Err("what another node does is not heard of".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_goes_on_and_looks_for_what_it_missed() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let (one, other) = (
        Node::open(&url, 1, |_| {}).await?,
        Node::open(&url, 2, |_| {}).await?,
    );
    hears(&one, &other).await?;
    hears(&other, &one).await?;
    // What nobody understands is nobody's.
    let odd = [
        "",
        "not json",
        "[]",
        "{\"from\":7}",
        "{\"from\":\"x\",\"due\":[\"no id\"]}",
        "{\"from\":\"x\",\"new\":[1]}",
    ];
    for payload in odd {
        testbed::client::query(&url, &format!("NOTIFY portico, '{payload}'"))?;
    }
    hears(&one, &other).await?;

    let signals = one.store.signals();
    signals.take_missed_due();
    signals.take_missed_deliveries();
    assert!(cut(&url)? > 0);
    let begun = Instant::now();
    while !(signals.take_missed_due() && signals.take_missed_deliveries()) {
        assert!(begun.elapsed() < PATIENCE, "what was missed is looked for");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hears(&one, &other).await?;
    hears(&other, &one).await?;
    one.store.close().await;
    other.store.close().await;
    Ok(())
}

/// Asks for changes, reads and readiness at once. Returns how many of them were not answered.
async fn failures(node: &Arc<Node>) -> Outcome<usize> {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let node = node.clone();
        tasks.spawn(async move {
            let mut failed = Vec::new();
            for _ in 0..5 {
                let (job_id, accepted, _) = node.accept_one().await;
                let found = node.find(job_id).await;
                let is_found = match &found {
                    Ok(found) => accepted.is_err() || found.is_some(),
                    Err(_) => true,
                };
                assert!(is_found, "an accepted write is found");
                let ready = node.store.check().await;
                let all = [accepted.map(drop), found.map(drop), ready];
                failed.extend(all.into_iter().filter_map(Result::err));
            }
            failed
        });
    }
    let mut count = 0;
    while let Some(failed) = tasks.join_next().await {
        let failed = failed?;
        failed.iter().for_each(assert_is_turned_away);
        count += failed.len();
    }
    Ok(count)
}

/// A node wants six: one that changes, one that listens, four that read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_works_with_as_few_connections_as_it_is_given() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    for limit in 1..=6 {
        let name = format!("few_{limit}");
        server.query(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 's3cret' CONNECTION LIMIT {limit}"
        ))?;
        server.database_create(&name)?;
        server.query(&format!("ALTER DATABASE {name} OWNER TO {name}"))?;
        let port = server.port();
        let url = format!("postgres://{name}:s3cret@127.0.0.1:{port}/{name}");
        let node = Arc::new(Node::open(&url, limit, |_| {}).await?);
        assert_eq!(failures(&node).await?, 0, "of {limit} connections");

        // All come back at once, and the one that changes the database gets its place.
        cut(&server.url(&name))?;
        node.goes_on().await?;
        let begun = Instant::now();
        while failures(&node).await? > 0 {
            assert!(begun.elapsed() < PATIENCE, "of {limit} connections");
        }
        if limit == 1 {
            // It takes more when there are more.
            server.query(&format!("ALTER ROLE {name} CONNECTION LIMIT -1"))?;
            let connections = format!("SELECT 1 FROM pg_stat_activity WHERE usename = '{name}'");
            while server.query(&connections)?.len() < 2 {
                assert!(begun.elapsed() < 3 * PATIENCE, "it asks for more");
                assert_eq!(failures(&node).await?, 0);
            }
        }
        node.store.close().await;
    }
    Ok(())
}
