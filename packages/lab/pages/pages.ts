/**
 * Measures the first contentful paint of each dashboard page in a real browser on a full database, and on a phone with an empty cache at
 * 1.6 Mbit/s and 150 ms to the server, with what it loads:
 * `npm run bench -- pages --versions 10000 --audit 1000000 --releases 200 --models 0 --runs 7`. `--models`: further models that serve.
 */
import sql from 'sql-template-tag'
import type { Page } from 'playwright-core'
import { pageRegistry } from '../../../api/dashboard/page-registry.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import type { Store } from '../../../store/postgres.ts'
import { openDashboard } from '../../../test/support/dashboard/dashboard-fixture.ts'
import { openSession, weigh } from '../../../test/support/dashboard/browser-session.ts'
import { startBrowser } from '../../../test/support/dashboard/browser.ts'
import { withServers } from '../../../test/support/servers/own-servers.ts'
import { fillAudit } from '../harness/audit-rows.ts'
import { fillModels, fillTraffic } from '../harness/model-rows.ts'
import { quantileOf } from '../../../test/support/figures.ts'
import { readOptions } from '../harness/options.ts'

const options = readOptions({ versions: 10_000, audit: 1_000_000, releases: 200, models: 0, runs: 7 })
const limitMs = 300
const slowNetwork = { offline: false, latency: 150, downloadThroughput: 200_000, uploadThroughput: 200_000 }
const slowLimitMs = 1_000
const maxBytes = 120_000
const maxScriptBytes = 60_000

/** First contentful paint, from the start of the navigation. */
const firstPaint = `new Promise((resolve) => {
  const found = () => performance.getEntriesByName('first-contentful-paint')[0]
  const look = () => (found() ? resolve(found().startTime) : setTimeout(look, 5))
  look()
})`

await withServers(async (servers) => {
  const dashboard = await openDashboard(servers, { model: 'late-trains' })
  const browser = await startBrowser()
  try {
    const { store } = dashboard.core
    await fillVersions(store, options.versions)
    await fillReleases(store, options.releases)
    await extendAudit(store, options.audit)
    await fillModels(store, options.models)
    await store.query(sql`analyze`)
    const release = await dashboard.release(dashboard.candidate)
    const addresses = dashboard.pathsOfPages(release)
    const { page, signIn } = await openSession(browser, { url: dashboard.url })
    await signIn(dashboard.keys.root)
    const slow: string[] = []
    console.log(
      'page                                       first paint ms       load  view  statements  bytes',
    )
    await fillTraffic(store)
    for (const { path } of pageRegistry.filter((entry) => addresses[entry.path] !== undefined)) {
      const paints: number[] = []
      let told = ''
      for (let run = 0; run < options.runs; run++) {
        const answer = await page.goto(addresses[path]!)
        told = `${answer?.headers()['server-timing'] ?? ''};bytes=${(await answer?.body())?.byteLength}`
        paints.push(await page.evaluate<number>(firstPaint))
      }
      const [first = 0] = paints
      const [median, most] = [quantileOf(paints, 0.5), Math.max(...paints)]
      // The page computes up to its time limit and shows progress on the button.
      if (median > limitMs && path !== '/audit/verification') slow.push(path)
      const part = (name: RegExp) => (name.exec(told)?.[1] ?? '–').padStart(6)
      console.log(
        `${path.padEnd(42)} ${first.toFixed(0).padStart(5)} first ${median.toFixed(0).padStart(5)} median ${most.toFixed(0).padStart(5)} most` +
          `${part(/load;dur=([\d.]+)/)}${part(/view;dur=([\d.]+)/)}${part(/statements;desc="(\d+)"/)}${(/bytes=(\d+)/.exec(told)?.[1] ?? '').padStart(10)}`,
      )
    }
    console.log(
      slow.length === 0 ? `every page within ${limitMs} ms` : `slower than ${limitMs} ms: ${slow.join(', ')}`,
    )
    if (slow.length > 0) process.exitCode = 1
    const phone = await openSession(browser, { url: dashboard.url, width: 390, height: 844 })
    await phone.signIn(dashboard.keys.root)
    await fillTraffic(store)
    if (!(await fitsSlowNetwork(phone.page, addresses))) process.exitCode = 1
  } finally {
    await browser.close()
    await dashboard.close()
  }
})

/** Returns whether each page shows its first content in time on a slow network, and loads little enough. Prints the figures. */
async function fitsSlowNetwork(page: Page, addresses: Readonly<Record<string, string>>): Promise<boolean> {
  const network = await page.context().newCDPSession(page)
  await network.send('Network.enable')
  await network.send('Network.setCacheDisabled', { cacheDisabled: true })
  await network.send('Network.emulateNetworkConditions', slowNetwork)
  let isFit = true
  console.log('\npage at 1.6 Mbit/s, 150 ms away             first paint ms   kB sent  scripts kB')
  for (const { path } of pageRegistry) {
    const weight = weigh(page)
    await page.goto(addresses[path]!, { waitUntil: 'load' })
    const paint = await page.evaluate<number>(firstPaint)
    const { bytes, scriptBytes } = await weight()
    const isOver = paint > slowLimitMs || bytes > maxBytes || scriptBytes > maxScriptBytes
    if (isOver && path !== '/audit/verification') isFit = false
    console.log(
      `${path.padEnd(42)} ${paint.toFixed(0).padStart(14)} ${(bytes / 1_000).toFixed(1).padStart(9)} ${(scriptBytes / 1_000).toFixed(1).padStart(11)}${isOver ? '  over' : ''}`,
    )
  }
  return isFit
}

/** Seeds as many versions of the dashboard's model as are missing, each with a separate training, snapshot and evaluation. */
async function fillVersions(store: Store, count: number): Promise<void> {
  const fill = (statement: string) => store.pool.query(statement)
  await fill(`create table fill as
    select i, models.name as model, old.version as old, models.name || '_v7.' || i || '.0' as version
    from generate_series(1, ${count}) as i, (select * from versions where not drill order by created_at limit 1) as old
      join models on models.name = old.model`)
  await fill(`insert into snapshots (digest, model, as_of, rows, bytes, columns, source, created_at)
    select 'sha256:' || encode(sha256(version::bytea), 'hex'), model, now() - i * interval '1 hour', 1000 + i, 100000, '{}', '{}',
      now() - i * interval '1 hour' from fill`)
  await fill(`insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, started_at)
    select 't-' || version, model, 'sha256:' || encode(sha256(version::bytea), 'hex'), i, 'c', 'd', 'done', now() - i * interval '1 hour' from fill`)
  await fill(`insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
    select 'e-' || fill.version, fill.model, 't-' || fill.version, 'sha256:' || encode(sha256(fill.version::bytea), 'hex'), 'a', 'better',
      evaluations.report, 'r' from fill join versions on versions.version = fill.old join evaluations on evaluations.id = versions.evaluation_id`)
  await fill(`insert into versions (version, model, major, minor, patch, artifact_digest, manifest, evaluation_id, training_id, lineage,
      created_by, created_at)
    select fill.version, fill.model, 7, i, 0, versions.artifact_digest, versions.manifest, 'e-' || fill.version, 't-' || fill.version,
      versions.lineage || jsonb_build_object('snapshot', 'sha256:' || encode(sha256(fill.version::bytea), 'hex'),
        'metrics', jsonb_build_object('auc', 0.6 + (i % 1000) / 5000.0)), 'bench', now() - i * interval '1 hour'
    from fill join versions on versions.version = fill.old`)
  await fill('drop table fill')
  console.log(`${count} versions, each with snapshot, training and evaluation`)
}

async function fillReleases(store: Store, count: number): Promise<void> {
  await store.pool.query(`
    insert into releases (id, model, version, baseline_version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
      requested_by, workflow_id, run_id, stage, state, outcome, reason, started_at, ended_at)
    select 'rel_fill_' || i, model, version, null, 'canary', '{}', 'p', 'e', artifact_digest, 'bench', 'release/fill', 'run' || i, 'ended',
      jsonb_build_object('id', 'rel_fill_' || i, 'model', model, 'version', version, 'stage', 'ended', 'outcome', 'promoted'),
      'promoted', 'filled', now() - i * interval '1 hour', now() - i * interval '1 hour' + interval '30 minutes'
    from generate_series(1, ${count}) as i,
      lateral (select * from versions where not drill order by created_at desc offset i % 50 limit 1) as version`)
  console.log(`${count} releases`)
}

/** The head signer verifies the chain meanwhile, so it must be intact. */
async function extendAudit(store: Store, count: number): Promise<void> {
  const [last] = await listAudit(store, { limit: 1 })
  const head = { seq: last?.seq ?? 0, hash: last?.hash ?? '0'.repeat(64) }
  const rowOf = (seq: number) => ({
    actor: `actor ${seq % 40}`,
    action: seq % 100 === 0 ? 'champion.promoted' : 'routing.changed',
    subject: `rel_${seq % 1_000}`,
    model: `model-${seq % 20}`,
    detail: { shareBp: 500, generation: seq },
  })
  await fillAudit(store, { head, count, rowOf })
  console.log(`${count} rows of the audit`)
}
