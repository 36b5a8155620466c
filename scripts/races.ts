/**
 * Races two commands on one release: N pairs of real transactions, N pairs at the reducer, and updates to real releases for S seconds
 * a kind. `npm run test:races [-- --count N --seconds S]`
 */
import { readOptions } from '../bench/harness/options.ts'
import { verifyAudit } from '../store/audit/audit-log.ts'
import { withServers } from '../test/support/servers/own-servers.ts'
import {
  raceCommands,
  raceEvents,
  raceOpenings,
  raceStep,
  racePromotion,
  runRaces,
  type CommandRace,
  type RaceResult,
} from '../test/support/release/races.ts'
import {
  opened,
  advanceAll,
  commandEvent,
  undecided,
  waiting,
  routedShadow,
} from '../test/support/release/releases.ts'
import { openReleaseFixture } from '../test/support/release/release-fixture.ts'

const { count, seconds } = readOptions({ count: 1_000, seconds: 70 })
const kinds: readonly CommandRace[] = ['double approve', 'approve against reject', 'rollback against promote']
let failed = 0

await withServers(async (servers) => {
  const fixture = await openReleaseFixture(servers)
  try {
    tell('two releases opened at once, in Postgres', await runRaces(count, () => raceOpenings(fixture)))
    tell('rollback against promote, in Postgres', await runRaces(count, () => racePromotion(fixture)))
    for (const kind of kinds) {
      const withinMs = seconds * 1_000
      tell(
        `${kind}, by update to real releases`,
        await runRaces(count, () => raceCommands(fixture, kind), { abreast: 6, withinMs }),
      )
    }
    for (const kind of ['abort against a promotion', 'pause against the verdict'] as const)
      tell(
        `${kind}, in real releases`,
        await runRaces(Math.min(count, 100), () => raceStep(fixture, kind), { abreast: 6 }),
      )
    tellReducer()
    const { breach, rows } = await verifyAudit(fixture.store)
    if (breach !== undefined) failed++
    console.log(`the audit holds ${rows} rows, ${breach ?? 'and every one fits the one before it'}`)
  } finally {
    await fixture.close()
  }
})
console.log(`races: ${failed} broken invariants`)
if (failed > 0) process.exitCode = 1

function tell(name: string, { winners, issues, over }: RaceResult & { over: number }): void {
  failed += issues.length
  const won = [...winners].map(([who, times]) => `${who} ${times}`).join(', ')
  console.log(`${name}: ${over} races (${won}), ${issues.length} broken`)
  for (const issue of issues.slice(0, 5)) console.log(`  ${issue}`)
}

function tellReducer(): void {
  const pairs = [
    [commandEvent('approve'), commandEvent('approve')],
    [commandEvent('approve'), commandEvent('reject', 'ben')],
    [commandEvent('rollback'), commandEvent('promoteNow', 'root')],
  ] as const
  for (const [index, [one, two]] of pairs.entries()) {
    const issues: string[] = []
    for (let i = 0; i < count; i++) {
      const state = [
        opened,
        waiting,
        routedShadow,
        undecided,
        advanceAll(waiting, commandEvent('approve', 'cora')),
      ][i % 5]!
      const order = i % 2 === 0 ? ([one, two] as const) : ([two, one] as const)
      issues.push(...raceEvents(state, ...order).issues)
    }
    tell(`${kinds[index]!}, at the reducer`, { winners: new Map(), issues, over: count })
  }
}
