/**
 * Explains the predictions of a version for rows, in a child process with limits on memory and time, so that predictions of this replica
 * are not slowed down.
 */
import { inputWidthOf, outputNames } from '@tenure/predictors/features'
import { DomainError, isError } from '../../../domain/errors.ts'
import type { ExplainedPredictions } from '../../../domain/explanation/explained-predictions.ts'
import { openPreparer, prepareRows } from '../../../activities/data/prepared-rows.ts'
import { modelFeatures, type FeatureRow } from '../../../domain/model/features.ts'
import { computedColumns } from '../../../domain/model/prepare.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { getManifest } from '../../../store/artifacts.ts'
import { bringCopies } from '../../../store/objects/artifact-copies.ts'
import type { ApiDeps } from '../../deps.ts'
import { compileReader } from '../../serving/codec/row-reader.ts'
import type { ExplainedRows } from '../../serving/explanation/attribute-rows.ts'
import { askReader } from '../../serving/runtime/limited-process.ts'
import type { Actor } from '../../auth/authentication.ts'
import { requireAskable } from '../askable-version.ts'
import { resolveVersion } from '../resolve-version.ts'

export const explainLimits = {
  rows: 10,
  backgroundRows: 100,
  /** The number of requests that one replica explains at the same time. */
  maxConcurrent: 2,
  processMb: 768,
  /** The time limit in milliseconds, counted from the moment the process is ready. */
  explainMs: 10_000,
}

export interface ExplainInput {
  model: string
  /** A version of the model. Default: the champion. */
  version?: string
  /** As in a prediction. */
  instances: readonly unknown[]
  /** The rows whose mean answer is the base. Default: the golden rows of the version. */
  background?: readonly unknown[]
  /** The class, or the level of a quantile. */
  of?: string | number
}

let explaining = 0

/**
 * Explains rows. Throws the errors of a prediction for an invalid row, `overloaded` while too many other requests are explained, and
 * `deadline_exceeded`.
 */
export async function explainPredictions(
  {
    store,
    artifacts,
    artifactRoot,
    serving,
  }: Pick<ApiDeps, 'store' | 'artifacts' | 'artifactRoot' | 'serving'>,
  actor: Actor,
  { model, version: named, of, ...input }: ExplainInput,
): Promise<ExplainedPredictions> {
  const version = await resolveVersion(store, named ?? `${model}@champion`)
  if (version.model !== model)
    throw new DomainError(
      'version_not_found',
      `${JSON.stringify(named)} is not a version of ${JSON.stringify(model)}`,
    )
  await requireAskable(store, actor, version)
  const manifest = await getManifest(artifacts, version.artifactDigest)
  const fields = serving.fieldsOf(model)
  if (explaining >= explainLimits.maxConcurrent)
    throw new DomainError('overloaded', `this replica is explaining ${explaining} requests already`)
  explaining++
  try {
    const instances = await readRows(manifest, input.instances, {
      what: 'instances',
      max: explainLimits.rows,
      fields,
    })
    const background =
      input.background &&
      (await readRows(manifest, input.background, {
        what: 'background',
        max: explainLimits.backgroundRows,
        fields,
      }))
    const output = of === undefined ? undefined : outputOf(manifest.output, of)
    const { artifact, files, features, preprocessing } = manifest
    await bringCopies(artifacts, { artifacts: [version.artifactDigest] })
    const others = background ?? manifest.golden.instances
    const explained = await explainInProcess(artifactRoot, {
      manifest: { artifact, files, features, output: manifest.output, preprocessing },
      rows: instances,
      background: others,
      output,
    })
    const names = Object.keys(modelFeatures(features))
    return {
      model,
      version: version.version,
      method: explained.method,
      scale: explained.scale,
      background: { rows: others.length, from: background === undefined ? 'golden rows' : 'request' },
      explanations: explained.rows.map(
        ({ base, score, answer, attributions, errors, output: place }, row) => ({
          of: nameOf(manifest.output, place),
          answer: answer[place]!,
          base,
          score,
          attributions: names
            .map((feature, at) => ({
              feature,
              value: instances[row]![feature] ?? null,
              attribution: attributions[at]!,
              error: errors?.[at],
            }))
            .toSorted((a, b) => Math.abs(b.attribution) - Math.abs(a.attribution)),
        }),
      ),
    }
  } finally {
    explaining--
  }
}

/** Reads rows as the predict route does. `fields`: those that requests may carry. */
async function readRows(
  { features, preprocessing }: Pick<Manifest, 'features' | 'preprocessing'>,
  rows: readonly unknown[],
  { what, max, fields }: { what: string; max: number; fields: readonly string[] },
): Promise<FeatureRow[]> {
  if (rows.length === 0) throw new DomainError('no_instances', `"${what}" has no row`)
  if (rows.length > max)
    throw new DomainError('batch_too_large', `"${what}" has ${rows.length} rows, limit ${max}`)
  const read = compileReader(features, preprocessing)
  const into = new Float64Array(inputWidthOf(preprocessing))
  const sent = rows.map((row, index) => read(row, index, into, 0, (field) => fields.includes(field)))
  if (computedColumns(features).length === 0) return sent
  const preparer = await openPreparer(features)
  try {
    const prepared = await prepareRows(preparer, sent)
    // Checks the computed values.
    return prepared.map((row, index) => read(row, index, into, 0, (field) => fields.includes(field)))
  } finally {
    preparer.close()
  }
}

function outputOf(output: Output, of: string | number): number {
  const names = outputNames(output)
  const place = names.findIndex((name) => name === of)
  if (place >= 0) return place
  const known =
    names.length === 0 ? 'an answer of this model is one number' : `one of ${names.join(', ')} is required`
  throw new DomainError('invalid_request', `"of" is ${JSON.stringify(of)}: ${known}`)
}

const nameOf = (output: Output, place: number): string | number | undefined => outputNames(output)[place]

type Reply = ({ ok: true } & ExplainedRows) | { ok: false; code: string; message: string }

async function explainInProcess(artifactRoot: string, question: object): Promise<ExplainedRows> {
  const { processMb, explainMs } = explainLimits
  const { reply, isLate } = await askReader<Reply>(
    artifactRoot,
    { kind: 'explain', ...question },
    { memoryMb: processMb, timeMs: explainMs },
  )
  if (isLate)
    throw new DomainError(
      'deadline_exceeded',
      `the explanation takes more than ${explainMs / 1_000} s: send fewer instances, or fewer background rows`,
    )
  if (reply === undefined)
    throw new DomainError('model_unavailable', `the explanation needs more than ${processMb} MiB`)
  if (!reply.ok) throw new DomainError(isError(reply) ? reply.code : 'artifact_invalid', reply.message)
  return reply
}
