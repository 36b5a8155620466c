/**
 * Takes a sample of the logged requests of a model as a snapshot, for versions to answer again. It is spread over the last days, because the
 * newest ones alone would be those of an hour, and an hour is not what is served.
 */
import { loggedSpan, type LoggedRequests } from '../../domain/training/logged-requests.ts'
import type { Features } from '../../domain/model/features.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { Deps } from '../deps.ts'
import { insertUnlessErased } from '../privacy/data-subjects.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { memoryOfJobMb } from '../runtime/memory-limit.ts'
import { runJob } from '../runtime/run-job.ts'
import { untilStored } from '../runtime/until-stored.ts'
import type { RowsJob } from './rows-child.ts'
import type { LoggedSample, WrittenRequests } from './write-logged-requests.ts'

/**
 * Requests of erased data subjects are left out.
 * @param features those of the version that is asked
 * @param after ISO 8601: when the version was taught by requests, the end of those
 */
export async function takeLoggedRequests(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>,
  {
    definition,
    features,
    after,
    ...sample
  }: { definition: ModelDefinition; features: Features; after?: string } & Pick<
    LoggedSample,
    'maxRows' | 'part' | 'answers'
  >,
): Promise<LoggedRequests> {
  const { artifacts, config, log } = deps
  const { name: model, subject, evaluation } = definition
  const span = loggedSpan(Date.now(), after)
  const { databaseUrl, artifactRoot, signing } = config
  const job: RowsJob = {
    kind: 'logged',
    definition: { name: model, subject, evaluation: { entity: evaluation.entity } },
    features,
    ...sample,
    ...span,
    databaseUrl,
    artifactRoot,
    subjectKey: signing.subjectKey,
  }
  for (;;) {
    const { bytes, columns, subjects, subjectIsNumber, ...taken } = await runJob<WrittenRequests>({
      what: `reading the logged requests of ${model}`,
      file: 'activities/retrain/rows-child.ts',
      job,
      limitMb: config.trainingMemoryMb ?? memoryOfJobMb(),
    })
    const { digest, rows } = taken
    if (digest === undefined) return taken
    const isStored = await withHeartbeat(async () => {
      await untilStored(log, `the logged requests of ${model}`, async () => {
        await artifacts.share('snapshots', digest)
        if (subjects !== undefined) await artifacts.share('snapshots', subjects)
      })
      const source = { kind: 'logged requests', ...span, subjects, subjectIsNumber }
      const snapshot = { digest, model, asOf: span.to, rows, bytes, columns, source }
      return insertUnlessErased(deps, snapshot, { subjects, subjectIsNumber })
    })
    if (isStored) return taken
    log.info({ model }, 'logged requests are read again: a subject was erased in the meantime')
  }
}
