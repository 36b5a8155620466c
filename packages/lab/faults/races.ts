/**
 * Races two commands on one release: N pairs of real transactions, N pairs in the reducer, and updates to real releases for S seconds per
 * kind. Then races rollbacks of at most 100 real releases against the restore of a backup. `npm run bench -- races [--count N --seconds S
 * --only restores]`
 */
import { readOptions } from '../harness/options.ts'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { withServers } from '../../../test/support/servers/own-servers.ts'
import {
  raceCommands,
  raceEvents,
  raceOpenings,
  raceStep,
  racePromotion,
  runRaces,
  type CommandRace,
  type RaceResult,
} from '../../../test/support/races/races.ts'
import {
  opened,
  advanceAll,
  commandEvent,
  undecided,
  waiting,
  routedShadow,
} from '../../../test/support/release/releases.ts'
import { raceRestore } from '../../../test/support/races/restores.ts'
import { openReleaseFixture } from '../../../test/support/release/release-fixture.ts'
import type { Servers } from '../../../test/support/servers/servers.ts'

const { count, seconds, only } = readOptions({ count: 1_000, seconds: 70, only: '' })
const kinds: readonly CommandRace[] = ['double approve', 'approve against reject', 'rollback against promote']
let failed = 0

if (only !== 'restores') await withServers(raceOthers)
// A restore replaces the whole database, so it gets its own servers.
await withServers(raceRestores)
console.log(`races: ${failed} broken invariants`)
if (failed > 0) process.exitCode = 1

async function raceOthers(servers: Servers): Promise<void> {
  const fixture = await openReleaseFixture(servers)
  try {
    report('two releases opened at once, in Postgres', await runRaces(count, () => raceOpenings(fixture)))
    report('rollback against promote, in Postgres', await runRaces(count, () => racePromotion(fixture)))
    for (const kind of kinds) {
      const withinMs = seconds * 1_000
      report(
        `${kind}, by update to real releases`,
        await runRaces(count, () => raceCommands(fixture, kind), { abreast: 6, withinMs }),
      )
    }
    for (const kind of ['abort against a promotion', 'pause against the verdict'] as const)
      report(
        `${kind}, in real releases`,
        await runRaces(Math.min(count, 100), () => raceStep(fixture, kind), { abreast: 6 }),
      )
    raceReducer()
    const { breach, rows } = await verifyAudit(fixture.store)
    if (breach !== undefined) failed++
    console.log(`the audit holds ${rows} rows, ${breach ?? 'and every one fits the one before it'}`)
  } finally {
    await fixture.close()
  }
}

/** Races five releases per restore: with more, they start too slowly at the same time. */
async function raceRestores(servers: Servers): Promise<void> {
  const fixture = await openReleaseFixture(servers)
  try {
    const sum: RaceResult & { over: number } = { winners: new Map(), issues: [], over: 0 }
    let lockMs = 2_000
    while (sum.over < Math.min(count, 100)) {
      const { winners, issues, ...restore } = await raceRestore(fixture, 5, lockMs)
      lockMs = restore.lockMs
      sum.over += 5
      sum.issues.push(...issues)
      for (const [name, times] of winners) sum.winners.set(name, (sum.winners.get(name) ?? 0) + times)
    }
    report('rollback against a restored backup, in real releases', sum)
    const { breach, rows } = await verifyAudit(fixture.store)
    if (breach !== undefined) failed++
    console.log(`the audit holds ${rows} rows, ${breach ?? 'and every one fits the one before it'}`)
  } finally {
    await fixture.close()
  }
}

function report(name: string, { winners, issues, over }: RaceResult & { over: number }): void {
  failed += issues.length
  const won = [...winners].map(([who, times]) => `${who} ${times}`).join(', ')
  console.log(`${name}: ${over} races (${won}), ${issues.length} broken`)
  for (const issue of issues.slice(0, 5)) console.log(`  ${issue}`)
}

function raceReducer(): void {
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
    report(`${kinds[index]!}, at the reducer`, { winners: new Map(), issues, over: count })
  }
}
