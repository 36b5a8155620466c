/**
 * Injects faults drawn from a seed into a whole system, under load and with good and bad releases, and prints one table: `npm run
 * bench -- chaos --minutes 30 --seed S [--rate 200]`. Exits with 1 when an invariant is violated, when something is stuck, or when more than
 * 0.05 % of the requests fail outside planted faults.
 */
import { readOptions } from '../harness/options.ts'
import { figureTable, machine, roundedNumber, sumBy } from '../../../test/support/figures.ts'
import { faultKinds } from './faults.ts'
import { runChaos, type ChaosReport } from './loop.ts'

const maxFailedShare = 0.000_5

const { minutes, seed, rate, quiet } = readOptions({ minutes: 5, seed: 1, rate: 200, quiet: false })
const report = await runChaos({
  seed,
  runMs: minutes * 60_000,
  rate,
  say: quiet ? undefined : (line) => console.error(line),
})
console.log(tableOf(report).join('\n'))
for (const issue of report.issues) console.log(`broken: ${issue}`)
if (report.issues.length > 0 || countOutside(report) > maxFailedShare * countRequests(report))
  process.exitCode = 1

function countOutside({ failures }: ChaosReport): number {
  return sumBy([...failures.outside.values()], (times) => times)
}

function countRequests(found: ChaosReport): number {
  const { planted, onStruckReplica } = found.failures
  return found.answered + planted + onStruckReplica + countOutside(found)
}

function tableOf(found: ChaosReport): string[] {
  const { faults, releases, retrainings, failures, log, issues } = found
  const requests = countRequests(found)
  const list = (of: Map<string, number>) =>
    [...of].map(([name, times]) => `${name} ${times}`).join(', ') || '–'
  const shareOf = (count: number) => `${count} (${((100 * count) / requests).toFixed(4)} %)`
  const kinds = faultKinds.map((kind) => [kind, faults.filter((each) => each.kind === kind).length] as const)
  return figureTable(`seed ${found.seed}, ${found.minutes} min at ${rate}/s | ${machine}`, [
    ['faults', list(new Map(kinds))],
    ['releases: course and outcome', list(releases)],
    ['retrainings by outcome', list(retrainings)],
    ['requests', roundedNumber(requests)],
    ['failed by a planted bad version', shareOf(failures.planted)],
    ['without an answer, on a replica that was killed or frozen', shareOf(failures.onStruckReplica)],
    ['**failed outside planted faults**', shareOf(countOutside(found))],
    ['of these, by reason', list(failures.outside)],
    ['log: served = stored + dropped', `${log.served} = ${log.stored} + ${log.dropped}`],
    ['broken invariants, or stuck', String(issues.length)],
  ])
}
