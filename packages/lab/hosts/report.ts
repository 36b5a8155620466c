/** Prints the table of the hosts story and checks its requirements. */
import { figureTable, machine, roundedNumber as whole } from '../../../test/support/figures.ts'
import type { OrderFigures } from './orders.ts'
import type { HostsStoryReport } from './story.ts'

const maxOrderMs = 1_000
const maxFailedShare = 0.001
/** The reason of invalid responses that the bad version gives on purpose. */
const planted = '500 output_invalid'

const sumOf = (times: readonly number[]): number => times.reduce((total, each) => total + each, 0)
/** Excludes those of the bad version. */
const unplanted = (failed: HostsStoryReport['failed']): [string, number][] =>
  Object.entries(failed).filter(([why]) => why !== planted)

export function issuesOfStory(report: HostsStoryReport): string[] {
  const { releases, upgrades, wrong, audit, failed, answered } = report
  const late = upgrades.find(({ stage }) => stage !== 'canary')
  const lost = sumOf(unplanted(failed).map(([, times]) => times))
  const ended = releases.filter(({ wanted, outcome }) => outcome !== wanted)
  return [
    ...ended.map(({ what, wanted, outcome }) => `${what}: ${outcome} instead of ${wanted}`),
    ...(late === undefined
      ? []
      : [`${late.host} was upgraded in ${late.stage}: give --upgrade more seconds`]),
    ...[...new Set(wrong)].map((each) => `an answer by ${each}`),
    ...(lost > maxFailedShare * answered ? [`${lost} predictions failed: ${JSON.stringify(failed)}`] : []),
    ...(audit === 'whole' ? [] : [`the audit log: ${audit}`]),
  ]
}

/** Returns slow orders. Their duration also depends on the machine, so a test does not check it. */
export const issuesOfOrders = ({ orders, ordersCut }: HostsStoryReport): string[] =>
  [orders, ordersCut]
    .filter(({ p99Ms }) => p99Ms > maxOrderMs)
    .map(({ p99Ms }) => `orders reached the replicas in ${whole(p99Ms)} ms`)

export function hostsPage(
  report: HostsStoryReport,
  {
    seed,
    minutes,
    away,
    temporal,
    former,
  }: {
    seed: number
    minutes: number
    away: number
    temporal: string
    former?: { commit: string; date: string }
  },
): string {
  const { upgrades, releases, cuts, orders, ordersCut, answered, failed, wrong, audit } = report
  const failures = unplanted(failed)
  const sum = sumOf(failures.map(([, times]) => times))
  const bad = failed[planted] ?? 0
  const ms = ({ p50Ms, p99Ms, orders: count }: OrderFigures) =>
    `${whole(p50Ms)} / ${whole(p99Ms)} ms of ${count}`
  return [
    '# Five hosts',
    '',
    `Made by \`npm run bench -- hosts --seed ${seed} --out packages/lab/hosts/hosts.md\` in ${minutes.toFixed(0)} minutes on ${machine}, beside other work.`,
    '',
    'Two hosts with a replica each, two with a control and a training worker, one with Postgres, Temporal and an object store, and one with HAProxy.',
    temporal === 'cluster'
      ? 'Temporal is a cluster of its own, [set up](../../docs/how-to/machines/temporal-cluster.md) with two processes of each service, mTLS, and HAProxy before the frontends.'
      : 'Temporal is its development server.',
    'Each host is a network, a process and a mount namespace with a disk of its own. The hosts share only a network, whose router cuts links by dropping',
    'packets. The set-up and the configuration of HAProxy follow [several replicas](../../docs/how-to/several-replicas.md). Retrainings make the versions. Six',
    'callers send predictions through HAProxy without a pause.',
    '',
    ...figureTable(
      'release | ended as | wanted | predictions | failed, with those of the bad version',
      releases.map(({ what, outcome, wanted, predictions, failed: lost }) => [
        what,
        outcome,
        wanted,
        whole(predictions),
        whole(lost),
      ]),
    ),
    '',
    ...figureTable('all of it | ', [
      ['links cut and healed', String(cuts)],
      ['from an order of a rollback to the last replica, p50 / p99 (wanted: 1,000 ms)', ms(orders)],
      ['the same while one of two replicas is cut off from the data host: to the other one', ms(ordersCut)],
      [
        'from such an order to its answer, which waits for the lease, p99',
        `${whole(ordersCut.answerP99Ms)} ms`,
      ],
      [
        'answers by the version rolled back after that, of the replica that is cut off and said to be, until its link is healed',
        whole(ordersCut.answersCutOff),
      ],
      ['answers by a version after it was rolled back, or of an older route', String(wrong.length)],
      ['predictions', whole(answered + sum + bad)],
      ['refused because the bad version gave an invalid answer, before it was rolled back', String(bad)],
      [
        '**failed otherwise**',
        sum === 0 ? '0' : `${sum}: ${failures.map(([why, times]) => `${why} ${times}`).join(', ')}`,
      ],
      ['the audit log', audit],
    ]),
    '',
    ...(former === undefined
      ? []
      : [
          `All hosts start with the commit ${former.commit} (${former.date}). During the canary of the first release, \`tenure upgrade check\` and \`tenure models sync\` of this`,
          `build run. Then the processes of ${upgrades.map(({ host }) => host).join(', ')} are replaced, one host after the other. After that the release is still in its canary.`,
          '',
        ]),
    `While the data host was away for ${away} s, the release waited and the champion served.`,
    '',
  ].join('\n')
}
