/**
 * Checks the conditions of a promotion at the moment when a release makes its candidate champion, based on the commands and replica
 * responses that the simulator has observed.
 */
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { Route } from '../../../domain/serving/route.ts'
import type { Memory, Row, World } from '@tenure/simulator'

/** A command that a user gives, with the role of its sender at that moment. */
export interface Received {
  release: string
  command: string
  by: string
  role: string | undefined
  reason?: string
  digest?: string
  /** When the run of its release first had a signal of it. */
  signalMs?: number
}

export interface Known {
  policy: ReleasePolicy
  version: string
  /** Routes written for the release: the shares and when each was in force. */
  routes: { generation: number; route: Route; fromMs: number; toMs?: number; answered: number }[]
  lookedMs: number
  /** When each stage, by name and index, was first looked at. */
  firstLooks: Map<string, number>
  highestShareBp: number
  /** The evidence at the moment when a promoting step began to compare it; later changes come after the promotion. */
  basis?: Basis
  /** True when the observations no longer fit the database, which was restored from a backup. */
  isRestored?: boolean
}

export interface Basis {
  artifact: unknown
  evaluation: unknown
}

export function basisOf(memory: Memory, version: string): Basis {
  const row = memory.row('versions', version)
  const evaluation = memory.row('evaluations', row?.['evaluation_id'] as string)
  return { artifact: row?.['artifact_digest'], evaluation: evaluation?.['report_digest'] }
}

interface Seen {
  memory: Memory
  world: World
  received: ReadonlyMap<string, Received>
  known: Known | undefined
  fail: (property: string, message: string) => void
}

/** The commands that a release has accepted. */
const acceptedOf = (memory: Memory, release: string): Row[] =>
  memory.rows('commands').filter((each) => each['release_id'] === release && each['accepted'] === true)

/** A recorded command that the release has not answered. No act of the release may come before its answer. */
export const unansweredOf = (memory: Memory, release: string): string | undefined =>
  memory.rows('commands').find((each) => each['release_id'] === release && each['answered_at'] === null)?.[
    'kind'
  ] as string | undefined

/** Checks a break-glass promotion: it replaces approvals and waiting time, but not the traffic of one share and its evaluation. */
function checkBreakGlass({ memory, known, fail }: Pick<Seen, 'memory' | 'known' | 'fail'>, row: Row): void {
  const id = row['id'] as string
  const isOrdered = acceptedOf(memory, id).some((each) => each['kind'] === 'promoteNow')
  const isShownToCallers = row['strategy'] === 'canary' || row['strategy'] === 'rolling'
  if (!isOrdered || !isShownToCallers || known?.isRestored === true) return
  const { stages } = row['policy'] as ReleasePolicy
  const met = stages.some(
    ({ shareBp, minRequests }) =>
      known!.routes
        .filter(({ route }) => route.arms.some((arm) => arm.arm === 'canary' && arm.shareBp === shareBp))
        .reduce((sum, { answered }) => sum + answered, 0) >= minRequests,
  )
  if (!met) fail('break-glass skips no check', `${id} was promoted past the callers of every share`)
}

export function checkPromotion(
  { memory, world, received, fail, known }: Seen,
  id: string,
  before: Row | undefined,
): void {
  const row = memory.row('releases', id)
  if (row === undefined || known === undefined) return fail('promotion', `${id} promoted without being open`)
  const { version, baseline_version, requested_by, policy } = row as {
    version: string
    baseline_version: string | null
    requested_by: string
    policy: ReleasePolicy
  }
  if ((row['state'] as ReleaseState).promoted !== true)
    fail('pointer, history and audit together', `${id} promoted ${version} and does not know it`)
  if (row['rolled_back_at'] !== null || row['ended_at'] !== null)
    fail('abort and rollback win', `${id} promoted ${version} after it was rolled back`)
  if ((before?.['version'] ?? null) !== baseline_version)
    fail(
      'the baseline is the live champion',
      `${id} replaced ${String(before?.['version'])}, it was built on ${baseline_version}`,
    )
  const versionRow = memory.row('versions', version)
  if (versionRow?.['rolled_back_at'] !== null)
    fail('approval is bound', `${version} was promoted after it was withdrawn`)
  const isApproved = ({ artifact, evaluation }: Basis) =>
    artifact === row['artifact_digest'] && evaluation === row['evaluation_digest']
  if (!isApproved(basisOf(memory, version)) && !(known.basis && isApproved(known.basis)))
    fail('approval is bound', `${version} was promoted with other bytes or evidence than were approved`)
  const given = acceptedOf(memory, id)
  const refusals = given.filter((each) => ['abort', 'rollback', 'reject'].includes(each['kind'] as string))
  if (refusals.length > 0)
    fail('abort and rollback win', `${id} was promoted after an accepted ${refusals[0]!['kind'] as string}`)
  const unseen = unansweredOf(memory, id)
  if (unseen !== undefined)
    fail('no act before a recorded command', `${id} was promoted before its ${unseen}`)
  if (memory.rows('decisions').some((each) => each['release_id'] === id && each['kind'] === 'fail'))
    fail('a verdict against it wins', `${id} was promoted after the verdict fail`)
  // What the rows hold, of those that the simulator has seen a user send.
  const mine = given.flatMap((each) => received.get(each['id'] as string) ?? [])
  const isBreakGlass = mine.some(
    (each) => each.command === 'promoteNow' && each.role === 'admin' && (each.reason ?? '').trim() !== '',
  )
  if (isBreakGlass) return checkBreakGlass({ memory, known, fail }, row)
  const approvers = new Set(
    mine
      .filter(
        ({ command, role, by, digest }) =>
          command === 'approve' &&
          (role === 'approver' || role === 'admin') &&
          by !== requested_by &&
          digest === undefined,
      )
      .map(({ by }) => by),
  )
  if (approvers.size < policy.approval.approvers)
    fail(
      'approvals',
      `${id} was promoted with ${approvers.size} of ${policy.approval.approvers} approvals of others than ${requested_by}`,
    )
  const decidedByPerson = given.some(
    (each) => each['kind'] === 'approve' && /by decision of/.test(each['message'] as string),
  )
  if (decidedByPerson || baseline_version === null || known.isRestored) return
  if (row['strategy'] !== 'canary' && row['strategy'] !== 'ab') return
  for (const [index, stage] of policy.stages.entries()) {
    const passed = known.routes.filter(({ route }) =>
      route.arms.some((arm) => arm.arm === 'canary' && arm.shareBp === stage.shareBp),
    )
    const answered = passed.reduce((sum, each) => sum + each.answered, 0)
    if (answered < stage.minRequests)
      fail(
        'absence of evidence never promotes',
        `${id} passed stage ${index} with ${answered} of ${stage.minRequests} answers`,
      )
    const heldMs = passed.reduce((sum, each) => sum + (each.toMs ?? world.now()) - each.fromMs, 0)
    if (heldMs < stage.minMs)
      fail(
        'absence of evidence never promotes',
        `${id} passed stage ${index} in ${heldMs} of ${stage.minMs} ms`,
      )
  }
}
