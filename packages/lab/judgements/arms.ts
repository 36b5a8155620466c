/**
 * Measures how long the judge reads the outcomes of an A/B release or of a holdback, by the number of users, and writes
 * packages/lab/judgements/arms.md. `npm run bench -- arms [--most 10000000] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import sql from 'sql-template-tag'
import { blocksOf, judgeHoldback, lossCounter } from '../../../domain/canary/holdback.ts'
import { judgedLossOf } from '../../../domain/tasks/losses.ts'
import { readReleaseAnswers } from '../../../store/release/evidence.ts'
import { figureTable, machine } from '../../../test/support/figures.ts'
import { openDatabase } from '../../../test/support/servers/private-database.ts'
import { readOptions, reportFile } from '../harness/options.ts'

const options = readOptions({ most: 10_000_000, out: reportFile('judgements/arms.md') })
const sizes = [100_000, 1_000_000, 10_000_000].filter((users) => users <= options.most)
const held = { release: 'rel_1', model: 'm', versions: ['new', 'old'] as const, width: 1 }

/** Three users in ten come twice; one in twenty is in the holdback. */
const requestsOf = (users: number): number => 1.3 * users

async function fill(store: Awaited<ReturnType<typeof openDatabase>>['store'], users: number) {
  const requests = requestsOf(users)
  await store.query(sql`
    insert into predictions
      (id, at, model, version, arm, release_id, generation, routing_key, instances, features, outputs, latency_us)
    select (hex || '7' || lpad(to_hex(i % 4096), 3, '0') || '8' || lpad(to_hex(i), 11, '0') || '0000')::uuid, at, 'm',
      case when hashint8(i % ${users}::bigint) % 20 = 0 then 'old' else 'new' end, 'champion', 'rel_1', 1,
      'user-' || i % ${users}::bigint, 1, decode(repeat('00', 40), 'hex'), array[(hashint8(i) & 65535) / 65536.0]::real[], 1
    from generate_series(1, ${requests}::bigint) as i,
      lateral (select now() - interval '10 days' + i * (interval '9 days' / ${requests}::float8) as at) as times,
      lateral (select lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') as hex) as ids`)
  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, to_jsonb(hashtext(id::text) & 1 = 0), at + interval '1 hour', at + interval '1 hour' from predictions order by at`)
  await store.query(sql`vacuum analyze predictions_default`)
  await store.query(sql`vacuum analyze outcomes`)
}

const rows = []
for (const users of sizes) {
  const database = await openDatabase({ queryMs: 7_200_000 })
  try {
    await fill(database.store, users)
    const by = { output: { kind: 'probability' as const, positive: 'yes', threshold: 0.5 } }
    const counter = lossCounter({
      judged: judgedLossOf(by.output),
      by: { canary: by, control: by },
      blocks: blocksOf(9_500),
    })
    globalThis.gc?.()
    const before = process.memoryUsage().rss
    let most = before
    const [from, processor] = [performance.now(), process.cpuUsage()]
    let taken = 0
    await readReleaseAnswers(database.store, held, (row) => {
      counter.add({ arm: row.version === 'new' ? 'canary' : 'control', ...row })
      if (taken++ % 10_000 === 0) most = Math.max(most, process.memoryUsage().rss)
    })
    const seconds = (performance.now() - from) / 1_000
    const { user, system } = process.cpuUsage(processor)
    const losses = counter.losses()!
    const { logE } = judgeHoldback(losses, 0.005, 0.001)
    const judged = losses.candidate.total + losses.control.total
    rows.push([
      users.toLocaleString('en'),
      judged.toLocaleString('en'),
      `${seconds.toFixed(1)} s`,
      `${((user + system) / 1e6).toFixed(1)} s`,
      `${Math.round((most - before) / 2 ** 20)} MiB`,
      `${Math.round(seconds / 0.05 / 60)} min`,
    ])
    console.log(rows.at(-1), logE)
  } finally {
    await database.stop()
  }
}

writeFileSync(
  options.out,
  `# Reading the outcomes of a release

\`npm run bench -- arms\` writes this page. ${machine}. The machine had other work too: its load average was ${Math.round(loadavg()[1]!)} at the end.

The judge of an A/B release, and of the holdback of a probation, reads the first request of each user to each version with its newest
outcome, and keeps sums. Three users in ten come twice, one in twenty is in the holdback. Each reading begins anew, so a late or corrected
outcome counts as if it had always been known. It takes at most a twentieth of the time, so a longer one comes more rarely, and the release
is watched meanwhile.

${figureTable(['users', 'judged', 'one reading', 'processor time of the worker', 'memory of the worker', 'read again after'], rows).join('\n')}
`,
)
