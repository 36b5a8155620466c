/**
 * Returns a model to its last proven version while no release is open. An open release is told instead: it knows what of
 * its candidate is out, and two hands on one route would undo each other. Only a drill is waited for: what is wrong is the champion
 * then, and whoever says so has said it once.
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
import { patient, rollingBack } from './release/activities.ts'

/** What a release that is ending anyway gets to write its end, before it is taken for interrupted. */
const graceMs = 2_000
/** How soon it is looked whether a drill has made way, and how often. */
const drillWait = { everyMs: 250, tries: 120 }

export async function rollback(request: RollbackRequest): Promise<RollbackOutcome> {
  const { model, by, reason, signature, recordedAt } = request
  upsertSearchAttributes({ Model: [model] })
  const said = { id: request.id ?? uuid4(), by, reason, signature }
  const [who] = await patient.authorize({
    names: [by],
    model,
    commands: [{ ...said, command: 'rollback' }],
  })
  if (who?.role === undefined || !who.inScope || !commandRoles.rollback.includes(who.role))
    return {
      outcome: 'refused',
      code: 'forbidden',
      model,
      message: who?.rejectedBecause ?? `${by} is no active key that may roll ${model} back`,
    }
  return CancellationScope.nonCancellable(async () => {
    let interrupted: string | undefined
    let waits = 0
    for (;;) {
      const report = await rollingBack.rollBackModel({
        model,
        by,
        reason,
        interrupted,
        recordedAt,
      })
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
            message: `${from} is taken back, ${to} answers${missing}${over}`,
          }
        }
        case 'open_release':
          try {
            await getExternalWorkflowHandle(releaseWorkflowId(model)).signal(commandSignals.rollback, said)
            if (report.drill === true && waits++ < drillWait.tries) {
              await sleep(drillWait.everyMs)
              break
            }
            return {
              outcome: 'forwarded',
              model,
              releaseId: report.releaseId,
              message: `release ${report.releaseId} is open and has been told to take its candidate back`,
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
