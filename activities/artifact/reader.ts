/**
 * Talks to the child process that reads artifacts of other libraries. Activities may not import serving code, and a bad file must not
 * crash a worker.
 */
import type { DeclaredColumn, FeatureFit, ModelFacts, UnknownRows } from '@tenure/predictors/features'
import { DomainError, isError } from '../../domain/errors.ts'
import { createFrames } from '../../domain/message-framing.ts'
import type { CompressionFacts } from '../../domain/model/compression.ts'
import type { FeatureRow, Features } from '../../domain/model/features.ts'
import type { ArtifactFormatName, CompressionRequest } from '@tenure/predictors/format-names'
import type { Manifest } from '../../domain/model/manifest.ts'
import { spawnServing } from '../runtime/serving-child.ts'
import type { Output } from '../../domain/tasks/output.ts'

export type AnswerableManifest = Pick<
  Manifest,
  'artifact' | 'files' | 'features' | 'output' | 'preprocessing'
> & {
  /** Whether code of Python is refused where it knows the categories of the rows as other values than their texts. */
  checksValues?: boolean
  /** Whether a pickle that another minor version of its library has written is accepted all the same. */
  allowsOtherVersions?: boolean
}

export interface BoundArtifact {
  artifact: ArtifactFormatName
  /** The library that wrote the file. */
  library: string
  fits: FeatureFit[]
  /** Features that the model does not use. */
  unused: string[]
  /** Empty for a model that takes numbers only, and without `texts`. */
  unknown: UnknownRows[]
}

export interface StoredCompression extends Pick<
  CompressionFacts,
  'bytes' | 'counts' | 'rawBound' | 'answerBound'
> {
  /** In the artifact store. */
  files: Manifest['files']
}

export interface ArtifactReader {
  /** Reads stored files and binds their columns to the features. Throws `artifact_invalid` with the reason. */
  bind(request: {
    files: Manifest['files']
    features: Features
    /** The features in the order of the model file, for a file that does not name its columns. */
    order?: string[]
    output: Output
    declared?: DeclaredColumn[]
    /** The texts of the training rows by feature with their rows. A category column of the file must know one of them. */
    texts?: Readonly<Record<string, readonly (readonly [text: string, rows: number])[]>>
  }): Promise<BoundArtifact>
  /** One list of outputs per row; NaN for a non-finite output. */
  answer(manifest: AnswerableManifest, rows: readonly FeatureRow[]): Promise<number[][]>
  /** What a model that is code tells of itself after its answers; nothing for others. */
  facts(manifest: AnswerableManifest): Promise<ModelFacts>
  /** Stores the files of an artifact made smaller. Throws `artifact_invalid` for files that cannot be. */
  compress(
    manifest: AnswerableManifest,
    request: CompressionRequest,
    rows: readonly FeatureRow[],
  ): Promise<StoredCompression>
  close(): Promise<void>
}

type Reply = { ok: true; width: number; outputs: (number | null)[] } & BoundArtifact &
  StoredCompression &
  ModelFacts
type Refusal = { ok: false; code: string; message: string }

const heapMb = 512
/** Limits the time that a hostile file can take. Twice that of a registration, which has read the same file before. */
const bindMs = 20_000
/** Rows per request to the process, and the time limit of one request. */
const pieceRows = 2_000
const pieceMs = 120_000

export async function withArtifactReader<T>(
  artifactRoot: string,
  work: (reader: ArtifactReader) => Promise<T>,
): Promise<T> {
  const reader = openArtifactReader(artifactRoot)
  try {
    return await work(reader)
  } finally {
    await reader.close()
  }
}

export function openArtifactReader(artifactRoot: string): ArtifactReader {
  const { child, last } = spawnServing(['api/processes/artifact-reader.ts', artifactRoot], heapMb)
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = []
  let broken: Error | undefined
  const fail = (error: Error) => {
    broken ??= error
    for (const each of waiting.splice(0)) each.reject(broken)
  }
  const nextLine = (): Promise<string> =>
    new Promise((resolve, reject) => {
      if (broken === undefined) waiting.push({ resolve, reject })
      else reject(broken)
    })
  // The first line reports that the process is ready, so its start does not count towards a time limit.
  const ready = nextLine()
  ready.catch(() => {})
  const frames = createFrames()
  child.on('error', fail)
  child.stdout.on('data', (chunk: Buffer) => {
    for (const { line } of frames(chunk)) waiting.shift()?.resolve(line)
  })
  const ended = new Promise<void>((resolve) => {
    child.on('close', (code, how) => {
      const why = `the process that reads the artifact ended with ${how ?? code}; it may take ${heapMb} MB ${last()}`
      fail(new DomainError('artifact_invalid', why.trim()))
      resolve()
    })
  })
  const ask = async (request: object, limitMs: number): Promise<Reply> => {
    await ready
    const timer = setTimeout(() => {
      fail(new DomainError('artifact_invalid', `reading the artifact took longer than ${limitMs} ms`))
      child.kill('SIGKILL')
    }, limitMs)
    try {
      const line = nextLine()
      child.stdin.write(`${JSON.stringify(request)}\n`)
      const reply = JSON.parse(await line) as Reply | Refusal
      if (reply.ok) return reply
      throw new DomainError(isError(reply) ? reply.code : 'artifact_invalid', reply.message)
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    async bind(request) {
      const { artifact, library, fits, unused, unknown } = await ask({ kind: 'bind', ...request }, bindMs)
      return { artifact, library, fits, unused, unknown }
    },
    async facts(manifest) {
      const { types, warnings } = await ask({ kind: 'facts', manifest: asked(manifest) }, pieceMs)
      return { types, warnings }
    },
    async answer(given, rows) {
      const manifest = asked(given)
      const { features } = manifest
      const answers: number[][] = []
      for (let from = 0; from < rows.length; from += pieceRows) {
        const some = rows.slice(from, from + pieceRows)
        const columns = columnsOf(features, some)
        const { width, outputs } = await ask(
          { kind: 'answer', manifest, rows: some.length, columns },
          pieceMs,
        )
        const numbers = outputs.map((value) => value ?? NaN)
        for (let row = 0; row < some.length; row++)
          answers.push(numbers.slice(row * width, (row + 1) * width))
      }
      return answers
    },
    async compress({ artifact, files, features, output, preprocessing }, request, rows) {
      const manifest = { artifact, files, features, output, preprocessing }
      const asked = { request, rows: rows.length, columns: columnsOf(features, rows) }
      const reply = await ask({ kind: 'compress', manifest, ...asked }, pieceMs)
      const { files: made, bytes, counts, rawBound, answerBound } = reply
      return { files: made, bytes, counts, rawBound, answerBound }
    },
    async close() {
      child.stdin.end()
      await ended
    },
  }
}

/** What the child reads of a manifest, without its golden rows and its profile. */
const askedFields = [
  'artifact',
  'files',
  'features',
  'output',
  'preprocessing',
  'checksValues',
  'allowsOtherVersions',
] as const satisfies readonly (keyof AnswerableManifest)[]

const asked = (manifest: AnswerableManifest): AnswerableManifest =>
  Object.fromEntries(askedFields.map((name) => [name, manifest[name]])) as unknown as AnswerableManifest

const columnsOf = (features: Features, rows: readonly FeatureRow[]) =>
  Object.fromEntries(Object.keys(features).map((name) => [name, rows.map((row) => row[name] ?? null)]))
