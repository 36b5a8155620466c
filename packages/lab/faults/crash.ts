/**
 * Kills the worker of a release at every event of its history, in every workflow task and around every side effect. Compares the result
 * with an undisturbed release. `npm run bench -- crash [--limit N --from K --slots S]`
 */
import { quantileOf } from '../../../test/support/figures.ts'
import { readOptions } from '../harness/options.ts'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import {
  openCrashFixture,
  crashScenarios,
  type CrashFixture,
  type CrashScenarioName,
} from '../../../test/support/release/crash.ts'
import { withServers } from '../../../test/support/servers/own-servers.ts'
import { killPointName, killPointsOf, type KillPoint } from '../../../test/support/release/kill-point.ts'

const options = readOptions({ limit: Infinity, from: 1, slots: 12, story: '' })

await withServers(async (servers) => {
  const fixture = await openCrashFixture(servers)
  try {
    await run(fixture)
  } finally {
    await fixture.close()
  }
})

async function run(fixture: CrashFixture): Promise<void> {
  const from = performance.now()
  const names = (Object.keys(crashScenarios) as CrashScenarioName[]).filter(
    (name) => options.story === '' || options.story === name,
  )
  const all: { story: CrashScenarioName; point: KillPoint }[] = []
  const references = new Map<CrashScenarioName, Awaited<ReturnType<CrashFixture['reference']>>>()
  for (const story of names) {
    const reference = await fixture.reference(story)
    references.set(story, reference)
    const points = killPointsOf(reference.events, reference.lived)
    all.push(...points.map((point) => ({ story, point })))
    const { events, lived, tookMs, ending } = reference
    console.log(
      `${story}: ${ending.outcome} in ${seconds(tookMs)} undisturbed; ${events} events, ${lived.tasks} workflow tasks, ` +
        `${lived.deeds.length} activities: ${points.length} points`,
    )
  }
  const first = options.from - 1
  const chosen = all.slice(first, first + options.limit)
  const todo = chosen.map((each, index) => ({ ...each, number: first + index + 1 }))
  let tried = 0
  let spared = 0
  const failures: string[] = []
  const extra: number[] = []
  const work = async (slot: number) => {
    for (let each = todo.shift(); each !== undefined; each = todo.shift()) {
      const { story, point, number } = each
      const reference = references.get(story)!
      const { died, issues, tookMs } = await fixture.attempt(slot, story, point, reference)
      if (++tried % 50 === 0) console.log(`${tried} tried, ${failures.length} failed`)
      if (!died) spared++
      extra.push(tookMs - reference.tookMs)
      if (issues.length === 0) continue
      const line = `${number}. ${story}, ${killPointName(point)}: ${issues.join('; ')}`
      failures.push(line)
      console.log(`FAILED ${line}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(options.slots, todo.length) }, (_, i) => work(i)))
  const { breach, rows } = await verifyAudit(fixture.store)
  if (breach !== undefined) failures.push(breach)
  console.log(`the audit holds ${rows} rows, ${breach ?? 'and every one fits the one before it'}`)
  console.log(
    `a death costs ${seconds(quantileOf(extra, 0.5))} in the median, at most ${seconds(Math.max(...extra))}; ` +
      `${spared} releases were over before their point came; ${seconds(performance.now() - from)} in all`,
  )
  console.log(`crash points: ${tried} tried, ${failures.length} failed`)
  if (failures.length > 0) process.exitCode = 1
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
