/**
 * Runs the monitors of a thousand models on one control worker and measures lateness, history length and resources; writes
 * packages/lab/monitors/monitors.md. `npm run bench -- monitors [--models 1000] [--minutes 4] [--every 120] [--fast 10] [--out FILE]`
 */
import sql from 'sql-template-tag'
import { writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { startMonitor } from '../../../workflows/client/permanent-workflows.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { defaultMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { insertModel } from '../../../test/support/release/candidates.ts'
import { releasePolicy as release } from '../../../test/support/release/releases.ts'
import { startRealSystem, type RealSystem } from '../../../test/support/servers/system-fixture.ts'
import { figureTable, machine, sumBy } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { usageCell, usageOf, type ProcessUsage } from '../../../test/support/servers/processes.ts'

const options = readOptions({
  models: 1_000,
  minutes: 4,
  /** Window in seconds; the default of a model is an hour. */
  every: 120,
  /** Models with one-second windows, to observe continue-as-new. */
  fast: 10,
  out: reportFile('monitors/monitors.md'),
})
const count = options.models
const fast = Math.min(count, options.fast)
const lengthMs = options.minutes * 60_000
const everyMsOf = (place: number) => (place < fast ? 1_000 : options.every * 1_000)
const nameOf = (place: number) => `watched-${place}`
const watchedProcesses = ['control', 'temporal', 'postgres']

const system = await startRealSystem({ replicas: 1, leaseMs: 5_000 })
try {
  console.log(`${count} models are registered …`)
  await seed(system)
  const beganMs = Date.now()
  for (let place = 0; place < count; place++)
    await startMonitor(system.client, nameOf(place), system.config.taskQueues.control)
  const startedMs = Date.now() - beganMs
  console.log(`${count} monitors run after ${Math.round(startedMs / 1_000)} s`)
  const usages: ProcessUsage[] = []
  const fromMs = Date.now()
  while (Date.now() - fromMs < lengthMs) {
    await pause(Math.min(15_000, fromMs + lengthMs - Date.now()))
    const usage = usageOf(system.supervision, watchedProcesses)
    usages.push(usage)
    console.log(
      `${Math.round((Date.now() - fromMs) / 1_000)} s: control ${usage['control']?.rssMb.toFixed(0)} MB`,
    )
  }
  const found = await examine(system, { fromMs, untilMs: Date.now() })
  writeFileSync(options.out, page({ startedMs, usages, found }))
  console.log(JSON.stringify(found))
  if (found.missed.length > 0) {
    console.error(`windows were not looked at: ${found.missed.slice(0, 5).join(', ')}`)
    process.exitCode = 1
  }
} finally {
  await system.stop()
}

async function seed({ store, config }: RealSystem): Promise<void> {
  const made = async (place: number) => {
    const model = nameOf(place)
    const registry = await insertModel(store, { model, policy: release, artifactRoot: config.artifactRoot })
    const version = await registry.register()
    const evaluation = { policy: defaultGatePolicy('binary') }
    const monitor = { ...defaultMonitorPolicy, everyMs: everyMsOf(place), settleMs: 0 }
    await store.query(sql`
      update models set definition = definition || ${JSON.stringify({ evaluation, monitor })}::jsonb where name = ${model}`)
    await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'bench', reason: 'first' })
  }
  for (let place = 0; place < count; place += 4)
    await Promise.all(Array.from({ length: Math.min(4, count - place) }, (_, i) => made(place + i)))
}

type Found = Awaited<ReturnType<typeof examine>>

async function examine({ store, client }: RealSystem, span: { fromMs: number; untilMs: number }) {
  const rows = await store.query<{
    model: string
    windows: number
    first: Date
    last: Date
    length: number
  }>(sql`
    select model, count(*)::int as windows, min(from_at) as first, max(to_at) as last,
      (extract(epoch from max(to_at - from_at)) * 1000)::float8 as length
    from monitor_windows group by model`)
  const byName = new Map(rows.map((row) => [row.model, row]))
  const missed: string[] = []
  let expected = 0
  for (let place = 0; place < count; place++) {
    const everyMs = everyMsOf(place)
    const row = byName.get(nameOf(place))
    const due = Math.floor((span.untilMs - span.fromMs) / everyMs)
    expected += due
    if (row === undefined) {
      if (due > 0) missed.push(`${nameOf(place)} has none`)
      continue
    }
    const between = (row.last.getTime() - row.first.getTime()) / row.length
    if (between !== row.windows) missed.push(`${row.model} has ${row.windows} of ${between}`)
    // A window may have ended just now; fast windows are evaluated concurrently.
    const behindMs = span.untilMs - row.last.getTime()
    if (behindMs > 2 * everyMs + 10_000)
      missed.push(`${row.model} is ${Math.round(behindMs / 1_000)} s behind`)
  }
  const [late] = await store.query<{ p50: number; p95: number; most: number }>(sql`
    select percentile_cont(0.5) within group (order by late) as p50, percentile_cont(0.95) within group (order by late) as p95,
      max(late) as most
    from (select extract(epoch from at - to_at)::float8 as late from monitor_windows) as each`)
  const [alerts] = await store.query<{ open: number }>(sql`
    select count(*)::int as open from alerts where kind = 'monitor_error' and resolved_at is null`)
  let [longestRunning, longestEnded, begunAnew] = [0, 0, 0]
  for await (const { status, historyLength } of client.workflow.list({ query: `WorkflowType = 'monitor'` })) {
    if (status.name === 'CONTINUED_AS_NEW') {
      begunAnew++
      longestEnded = Math.max(longestEnded, historyLength)
    }
  }
  for (let place = 0; place < count; place += place < fast ? 1 : Math.max(1, Math.floor(count / 100))) {
    const { historyLength } = await client.workflow.getHandle(`monitor/${nameOf(place)}`).describe()
    longestRunning = Math.max(longestRunning, historyLength)
  }
  return {
    windows: sumBy(rows, (row) => row.windows),
    expected,
    /** Models with a missing window or more than one window behind. */
    missed,
    /** Delay from the end of a window to its evaluation, in seconds. */
    lateS: late!,
    /** Events of the longest running history, and of the longest one before continue-as-new. */
    longestRunning,
    longestEnded,
    begunAnew,
    alerts: alerts!.open,
  }
}

function page(measured: { startedMs: number; usages: ProcessUsage[]; found: Found }): string {
  const { startedMs, usages, found } = measured
  const moments = [usages[0]!, usages[Math.floor(usages.length / 2)]!, usages.at(-1)!]
  const { lateS } = found
  return [
    '# A thousand monitors',
    '',
    `Made by \`npm run bench -- monitors --models ${count} --minutes ${options.minutes} --every ${options.every} --fast ${fast}\` on ${machine},`,
    'without other work. The system has the embedded Postgres and Temporal, one control worker with its usual limits, and one replica.',
    '',
    `Each of ${count} models has a monitor: ${count - fast} have windows of ${options.every} s (usually an hour), and ${fast} have windows of a second, so`,
    'that workflow histories continue as new during the measurement.',
    '',
    ...figureTable(
      ['', ''],
      [
        [`all ${count} started in`, `${(startedMs / 1_000).toFixed(1)} s`],
        ['windows looked at', `${found.windows} (${found.expected} had to end)`],
        [
          'holes, or models more than a window behind',
          found.missed.length === 0 ? 'none' : found.missed.slice(0, 5).join(', '),
        ],
        [
          'from the end of a window to the look, median, 95 %, most',
          `${lateS.p50.toFixed(1)} s, ${lateS.p95.toFixed(1)} s, ${lateS.most.toFixed(1)} s`,
        ],
        ['longest history that runs', `${found.longestRunning} events`],
        [
          'histories that began anew, and the longest of them',
          `${found.begunAnew}, ${found.longestEnded} events`,
        ],
        ['open alerts that one could not be watched in full', String(found.alerts)],
      ],
    ),
    '',
    ...figureTable(
      'process | in the beginning | half-way | at the end',
      watchedProcesses.map((name) => [name, ...moments.map((usage) => usageCell(usage, name))]),
    ),
    '',
    'A monitor continues as new after 200 windows, or when Temporal suggests it; the limit of a run is 51,200 events.',
    '',
  ].join('\n')
}
