//! A commit that was not answered, and what the server refuses.

use super::*;

/// What a statement that stores a write does when it is told to: raise an error, or take its time.
const TROUBLE: &str = "
    CREATE TABLE trouble (one BIGINT PRIMARY KEY, code TEXT NOT NULL, about TEXT NOT NULL);
    INSERT INTO trouble VALUES (1, '', '');
    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE told trouble;
    BEGIN
        SELECT * INTO told FROM trouble;
        IF told.code = 'slow' THEN
            PERFORM pg_sleep(20);
        ELSIF told.code <> '' AND to_jsonb(NEW)::TEXT LIKE '%' || told.about || '%' THEN
            RAISE EXCEPTION 'as told' USING ERRCODE = told.code;
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER trouble BEFORE INSERT ON writes FOR EACH ROW EXECUTE FUNCTION trouble();
    CREATE TRIGGER trouble BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION trouble();
";

/// The connection of a node that waits until a standby has its commit.
async fn waits_for_standby(url: &str) -> Outcome<String> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'portico' AND wait_event = 'SyncRep'";
    let begun = Instant::now();
    loop {
        let rows = tokio::task::block_in_place(|| testbed::client::query(url, sql))?;
        if let Some(pid) = rows.into_iter().flatten().next() {
            return Ok(pid);
        }
        if begun.elapsed() > PATIENCE {
            return Err("no commit waits for a standby".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_not_answered_is_in_doubt_and_found_by_its_key() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let node = Arc::new(Node::open(&url, 1, hurry).await?);
    let keyed = |key: u8| Once {
        key_hash: [key; 32],
        fingerprint: [7; 32],
        used_at: START,
        expires_at: START.plus_millis(1_000_000),
    };
    let accept = |key: u8| {
        let (node, write) = (node.clone(), node.write());
        let once = keyed(key);
        let job_id = write.job_id;
        let asked = tokio::spawn(async move {
            let store = node.store.clone();
            store.write_accept(&node.by.scope, write, Some(once)).await
        });
        (job_id, asked)
    };
    let wait_for = |standby: &str| -> io::Result<()> {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'");
        server.query(&set)?;
        server.query("SELECT pg_reload_conf()")?;
        // Whoever is told last.
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    };

    // Commits are stored here, and wait for a standby that there is not.
    wait_for("nobody")?;
    let mut jobs = Vec::new();
    // An operator cancels the wait: the server answers as if all were well. Or ends the connection.
    for (key, ends) in [(1, "pg_cancel_backend"), (2, "pg_terminate_backend")] {
        let (job_id, asked) = accept(key);
        let pid = waits_for_standby(&url).await?;
        server.query(&format!("SELECT {ends}({pid})"))?;
        let answer = asked.await?;
        assert!(matches!(answer, Err(Error::InDoubt)), "{ends}: {answer:?}");
        jobs.push(job_id);
    }
    // Nobody does anything.
    let (job_id, asked) = accept(3);
    let begun = Instant::now();
    let answer = asked.await?;
    assert!(matches!(answer, Err(Error::InDoubt)), "{answer:?}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    jobs.push(job_id);
    // It goes on waiting in the server, in its turn: who comes now hears that nothing is stored.
    let (_, asked) = accept(4);
    assert_is_busy(&asked.await?);
    // What can be read already is on no standby: it is not answered as accepted.
    let found = node.store.replay_find(&node.by.scope, &keyed(1)).await;
    assert!(matches!(found, Err(Error::InDoubt)), "{found:?}");

    wait_for("")?;
    node.goes_on().await?;
    let found = node.store.replay_find(&node.by.scope, &keyed(1)).await?;
    assert!(
        matches!(found, Some(Acceptance::Replayed { .. })),
        "{found:?}"
    );
    for (key, first) in (1..).zip(jobs) {
        let (_, asked) = accept(key);
        match asked.await?? {
            Acceptance::Replayed { job_id, .. } => assert_eq!(job_id, first),
            other => panic!("{other:?}"),
        }
    }
    let (_, asked) = accept(4);
    assert_eq!(asked.await??, Acceptance::Accepted);
    let count = "SELECT count(*) FROM idempotency i JOIN writes w ON w.job_id = i.job_id";
    let count = one_value(testbed::client::query(&url, count)?)?;
    assert_eq!(count, "4", "each is stored once");
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_for_now_is_busy_and_what_it_refuses_for_good_is_not() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let node = Arc::new(Node::open(&url, 1, hurry).await?);
    testbed::client::query(&url, TROUBLE)?;
    let tell = |code: &str, about: &str| {
        let set = format!("UPDATE trouble SET code = '{code}', about = '{about}'");
        testbed::client::query(&url, &set)
    };
    let count = || one_value(testbed::client::query(&url, "SELECT count(*) FROM writes")?);

    let for_now = [
        "40001", // serialization
        "40P01", // deadlock
        "53100", // no room on the disk
        "53200", // no memory
        "55P03", // a lock that was not to be had
        "57014", // cancelled
        "25006", // read only
        "26000", // a prepared statement that is not known
        "slow",
    ];
    let mut stored = 0;
    for code in for_now {
        tell(code, "")?;
        let (_, answer, took) = node.accept_one().await;
        assert!(matches!(answer, Err(Error::Busy)), "{code}: {answer:?}");
        assert!(took < BOUND, "{code}: {took:?}");
        tell("", "")?;
        let (job_id, answer, _) = node.accept_one().await;
        assert!(answer.is_ok(), "after {code}: {answer:?}");
        assert!(node.find(job_id).await?.is_some());
        stored += 1;
    }
    for code in ["23514", "22021", "54000", "XX000"] {
        tell(code, "")?;
        let (_, answer, _) = node.accept_one().await;
        assert!(
            matches!(&answer, Err(Error::Database(why)) if why.contains("as told") && why.contains(code)),
            "{code}: {answer:?}"
        );
    }
    tell("", "")?;
    assert_eq!(count()?, stored.to_string());

    // One among many is refused: it alone is.
    let mut asks = JoinSet::new();
    let poison = node.write();
    let poisoned = poison.job_id;
    tell("23514", &poisoned.to_string())?;
    let mut writes: Vec<NewWrite> = (0..63).map(|_| node.write()).collect();
    writes.insert(30, poison);
    for write in writes {
        let node = node.clone();
        asks.spawn(async move { (write.job_id, node.accept(write).await) });
    }
    while let Some(asked) = asks.join_next().await {
        let (job_id, answer) = asked?;
        if job_id == poisoned {
            assert!(matches!(answer, Err(Error::Database(_))), "{answer:?}");
        } else {
            assert_eq!(answer?, Acceptance::Accepted);
        }
    }
    assert_eq!(count()?, (stored + 63).to_string());

    // The same of what is announced with the end of a write.
    let mut finishes = Vec::new();
    let claim = Claim {
        lanes: vec![ask(node.integration_id, 20)],
        now: START,
        lease_until: START.plus_millis(60_000),
    };
    let lanes = node.store.writes_claim(claim).await?;
    for write in lanes.into_iter().flat_map(|lane| lane.writes) {
        let x_id = format!("x{}", write.ticket.seq);
        finishes.push((write.job_id, node.confirmed(write.ticket, &x_id, START)));
    }
    let poisoned = finishes[7].0;
    tell("23514", &poisoned.to_string())?;
    let mut asks = JoinSet::new();
    for (job_id, finish) in finishes {
        let store = node.store.clone();
        asks.spawn(async move { (job_id, store.attempt_finish(&finish).await, finish) });
    }
    let mut again = None;
    while let Some(asked) = asks.join_next().await {
        let (job_id, answer, finish) = asked?;
        if job_id == poisoned {
            assert!(matches!(answer, Err(Error::Database(_))), "{answer:?}");
            again = Some(finish);
        } else {
            assert_eq!(answer?, WriteStatus::Success);
        }
    }
    let records = || {
        let sql = "SELECT count(*) FROM records WHERE kind = 'prospect'";
        one_value(testbed::client::query(&url, sql)?)
    };
    assert_eq!(records()?, "19");
    tell("", "")?;
    let status = node
        .store
        .attempt_finish(&again.ok_or("it was asked")?)
        .await?;
    assert_eq!(status, WriteStatus::Success);
    assert_eq!(records()?, "20");
    node.store.close().await;
    Ok(())
}
