/** Accepts an artifact that was trained elsewhere: stores and checks its file. The retrain workflow then evaluates and releases it. */
import { DomainError, isError } from '../../../domain/errors.ts'
import { formatOfFiles } from '@tenure/predictors/format-names'
import { parseDeclaredColumns } from '@tenure/predictors/features'
import { codeFolder, type BroughtArtifact } from '../../../domain/model/brought-artifact.ts'
import { columnsOfCode, readBroughtCode } from '../../../domain/model/brought-code.ts'
import type { FileDigest } from '../../../domain/model/manifest.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { parseJson } from '../../../domain/parse-json.ts'
import { unpackCode } from '../../../store/bundles/brought-code.ts'
import { isTarHeader } from '../../../store/foreign/foreign-archive.ts'
import { getModel } from '../../../store/registry/models.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { ApiDeps } from '../../deps.ts'
import { askReader } from '../../serving/runtime/limited-process.ts'
import { requireStartRole } from '../start-retraining.ts'
import { fileNameOf, formatOf } from '@tenure/predictors'

export interface UploadedArtifact {
  model: string
  artifact: Buffer
  /** The bytes of `columns.json`. */
  columns?: Buffer
  trainedOn?: string
  /** Why it may lack categories of more training rows than the limit. */
  allowUnknownCategories?: string
  allowOtherVersions?: string
}

/** The facts that were read from the file. */
export interface CheckedArtifact {
  brought: BroughtArtifact
  library: string
  /** Features that the artifact does not use. */
  unused: string[]
  /** The features that are bound to columns by position only; absent when the columns have names. */
  byPlace?: string[]
}

export const uploadLimits = {
  artifactBytes: 67_108_864,
  columnsBytes: 16_777_216,
  /** The number of files that one replica reads at the same time. */
  maxConcurrent: 2,
  /** The memory limit of the reading process, and its time limit after its start, to which `startMs` of the format is added. */
  processMb: 768,
  readMs: 5_000,
}

let reading = 0

/**
 * Stores and checks a file. Throws `artifact_invalid` for a file that cannot be read or does not fit the model, `forbidden` for code and a key
 * that may not bring it, and `overloaded` while too many others are read.
 */
export async function checkArtifact(
  { store, artifacts, artifactRoot }: Pick<ApiDeps, 'store' | 'artifacts' | 'artifactRoot'>,
  actor: Actor,
  { model, artifact, columns, trainedOn, allowUnknownCategories, allowOtherVersions }: UploadedArtifact,
): Promise<CheckedArtifact> {
  const { definition } = await getModel(store, model)
  if (reading >= uploadLimits.maxConcurrent)
    throw new DomainError('overloaded', `this replica is reading ${reading} artifacts already`)
  reading++
  try {
    const isFolder = isTarHeader(artifact)
    if (isFolder) requireStartRole(actor, { file: codeFolder })
    const file = isFolder ? codeFolder : fileNameOf(artifact)
    // Before anything is stored.
    const code = isFolder ? checkCode(definition, artifact, columns) : undefined
    const stored = await artifacts.put('artifacts', artifact)
    const named = columns === undefined ? undefined : await artifacts.put('artifacts', columns)
    const read =
      code ??
      (await bindInProcess(artifactRoot, {
        files: { [file]: stored },
        features: definition.features,
        order: definition.featureOrder,
        output: definition.label.output,
        declaredIn: named,
      }))
    const notes = { trainedOn, allowUnknownCategories, allowOtherVersions }
    return { brought: { file, ...stored, columns: named?.digest, ...notes }, ...read }
  } finally {
    reading--
  }
}

/** Its packages, and whether it answers, are known when its environment is made. */
function checkCode(
  definition: ModelDefinition,
  archive: Buffer,
  columns: Buffer | undefined,
): Pick<CheckedArtifact, 'library' | 'unused'> {
  if (columns !== undefined && columns.byteLength > maxCodeColumnsBytes)
    throw new DomainError(
      'artifact_invalid',
      `columns.json of code has more than ${maxCodeColumnsBytes} bytes`,
    )
  const { library } = readBroughtCode(unpackCode(archive))
  const declared = columns && parseDeclaredColumns(parseJson(columns.toString('utf8')))
  const taken = new Set(columnsOfCode(definition, declared).map(({ name }) => name))
  return { library, unused: definition.featureOrder.filter((name) => !taken.has(name)) }
}

/** It is read in this process. */
const maxCodeColumnsBytes = 262_144

interface BindRequest {
  files: Record<string, FileDigest>
  features: object
  order?: string[]
  output: object
  /** `columns.json` is read in the child process too, because lists of empty items take much memory. */
  declaredIn?: FileDigest
}

type Reply =
  | { ok: true; library: string; unused: string[]; byPlace?: string[] }
  | { ok: false; code: string; message: string }

async function bindInProcess(
  artifactRoot: string,
  request: BindRequest,
): Promise<Pick<CheckedArtifact, 'library' | 'unused' | 'byPlace'>> {
  const { processMb, readMs } = uploadLimits
  const artifact = formatOfFiles(Object.keys(request.files))
  const timeMs = readMs + (formatOf({ artifact }).startMs ?? 0)
  const { reply, isLate } = await askReader<Reply>(
    artifactRoot,
    { kind: 'bind', ...request },
    { memoryMb: processMb, timeMs },
  )
  if (reply === undefined)
    throw new DomainError(
      'artifact_invalid',
      isLate
        ? `reading the file takes more than ${timeMs / 1_000} s. Try again if the machine is busy; else simplify the model`
        : `reading the file takes more than ${processMb} MiB`,
    )
  if (!reply.ok) throw new DomainError(isError(reply) ? reply.code : 'artifact_invalid', reply.message)
  const { library, unused, byPlace } = reply
  return { library, unused, byPlace }
}
