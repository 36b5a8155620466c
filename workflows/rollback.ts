/**
 * Returns a model to its last proven version. An open release receives the rollback command instead, because two writers of one route
 * would undo each other; a drill is ended first, because the order is about the champion.
 */
import {
  CancellationScope,
  getExternalWorkflowHandle,
  sleep,
  upsertSearchAttributes,
  uuid4,
} from '@temporalio/workflow'
import { commandRoles } from '../domain/release/state.ts'
import { commandSignals, releaseWorkflowId, type RollbackOutcome, type RollbackRequest } from './messages.ts'
import { field, optional, parseInput } from './input/parse-input.ts'
import { control, rollingBack } from './release/activities.ts'

/** How long an ending release has to record its end before it counts as interrupted. */
const graceMs = 2_000
/** Polling for the end of an open drill. */
const drillWait = { everyMs: 250, maxTries: 120 }

export async function rollback(given: RollbackRequest): Promise<RollbackOutcome> {
  const request = parseInput<RollbackRequest>(given, {
    model: field.name,
    by: field.name,
    reason: field.text,
    id: optional(field.name),
    signature: optional(field.text),
    recordedAt: optional(field.time),
  })
  const { model, by, reason, signature, recordedAt } = request
  upsertSearchAttributes({ Model: [model] })
  const command = { id: request.id ?? uuid4(), by, reason, signature }
  const [sender] = await control.authorize({ model, commands: [{ ...command, command: 'rollback' }] })
  if (sender?.role === undefined || !sender.inScope || !commandRoles.rollback.includes(sender.role))
    return {
      outcome: 'refused',
      code: 'forbidden',
      model,
      message:
        sender?.rejectedBecause ??
        `the key ${by} cannot roll ${model} back: it is unknown, revoked or lacks the role`,
    }
  return CancellationScope.nonCancellable(async () => {
    let interrupted: string | undefined
    let waits = 0
    for (;;) {
      const report = await rollingBack.rollBackModel({ model, by, reason, interrupted, recordedAt })
      switch (report.outcome) {
        case 'refused':
          return { outcome: 'refused', code: report.code, model, message: report.message }
        case 'rolled_back': {
          const { from, to, tookMs, problems, passedOver } = report
          const over = passedOver.length === 0 ? '' : `; passed over: ${passedOver.join('; ')}`
          const missing = problems.length === 0 ? '' : `; not acknowledged: ${problems.join('; ')}`
          return {
            outcome: 'rolled_back',
            model,
            from,
            to,
            tookMs,
            message: `${from} is rolled back, ${to} serves${missing}${over}`,
          }
        }
        case 'open_release':
          try {
            await getExternalWorkflowHandle(releaseWorkflowId(model)).signal(commandSignals.rollback, command)
            if (report.drill === true && waits++ < drillWait.maxTries) {
              await sleep(drillWait.everyMs)
              break
            }
            return {
              outcome: 'forwarded',
              model,
              releaseId: report.releaseId,
              message: `release ${report.releaseId} is open and has received the rollback command`,
            }
          } catch {
            // No workflow of this id runs: the release has just ended, or its workflow was terminated.
            await sleep(graceMs)
            interrupted = report.releaseId
          }
          break
        default:
          return report satisfies never
      }
    }
  })
}
