/** Tests that the in-memory Postgres knows each statement that the simulated code can send, also those that a run seldom meets. */
import { expect, it } from 'vitest'
import { reachedStatements } from './reached.ts'
import { fingerprint, type Statements } from './statement.ts'
import { authorityStatements } from './statements-authority.ts'
import { commandStatements } from './statements-commands.ts'
import { releaseStatements } from './statements-releases.ts'
import { routingStatements } from './statements-routing.ts'

const known: Statements = {
  ...releaseStatements,
  ...routingStatements,
  ...authorityStatements,
  ...commandStatements,
}
const named = new Set(Object.values(known).map(([name]) => name.split(',')[0]!))

/** Functions whose statements no run sends, by the reason. A run that sends one stops at it. */
const outside: Readonly<Record<string, readonly string[]>> = {
  'releases are started by commands of users': [
    'findQueueEntry',
    'endQueued',
    'takeDrillOrder',
    'findRetrained',
    'issueOfDrills',
    'readSimulatedOutage',
    'recordFailure',
  ],
  'no policy has a hold-back, a shadow comparison or a metric of outcomes, events or another system': [
    'findLabelTime',
    'readReleaseAnswers',
    'listLoggedPredictions',
    'listUserEvents',
    'insertReading',
    'listReadings',
    'countShadowRows',
  ],
  'replicas count requests, and neither log nor compare them': [
    'insertFailedRequests',
    'insertPairs',
    'writeFeatureCounts',
    'writeResources',
  ],
  'no replica is slowed down on purpose, and no kill switch is pulled': [
    'readServiceState',
    'acknowledgeKillSwitch',
  ],
}

const reached = reachedStatements('test/simulation/run.ts')
/** A text that is composed at run time has another fingerprint than its template: the name of its function counts. */
const isKnown = ({ by, text }: { by: string; text: string }) => fingerprint(text) in known || named.has(by)

it('knows each statement of store/ that the simulated code can reach', () => {
  expect(reached.length).toBeGreaterThan(100)
  const apart = new Set(Object.values(outside).flat())
  const unknown = reached.filter((each) => !isKnown(each) && !apart.has(each.by))
  expect(unknown.map(({ file, by, text }) => `${file}: ${by} ${fingerprint(text)}`)).toEqual([])
})

it('sets aside only functions that the simulated code can reach and whose statements have no meaning', () => {
  const unknown = new Set(reached.filter((each) => !isKnown(each)).map(({ by }) => by))
  expect(Object.values(outside).flatMap((names) => names.filter((name) => !unknown.has(name)))).toEqual([])
})

it('has no meaning of a statement that is neither reached nor compared with Postgres', () => {
  const compared = reachedStatements('test/simulation/postgres/conformance.test.ts')
  const all = [...reached, ...compared]
  const prints = new Set(all.map(({ text }) => fingerprint(text)))
  const names = new Set(all.map(({ by }) => by))
  const idle = Object.entries(known).filter(
    ([print, [name]]) => !prints.has(print) && !names.has(name.split(',')[0]!),
  )
  expect(idle.map(([print, [name]]) => `${print} ${name}`)).toEqual([])
})
