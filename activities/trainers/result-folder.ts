/**
 * Reads the folder that a training program has written: one artifact file, and the files needed to bind and check it. The program may be
 * faulty or have been killed, so every file is bounded and checked, and no link is followed.
 */
import { parseDeclaredColumns, type DeclaredColumn } from '@tenure/predictors/features'
import { join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { trainedFileNames } from '@tenure/predictors/format-names'
import type { FeatureRow } from '../../domain/model/features.ts'
import { listForeignFolder, openForeignFile } from '../../store/foreign/foreign-folder.ts'
import type { EpochRecord } from '../../store/training/trainings.ts'

export interface ProgramResult {
  /** `name` is one of `trainedFileNames`. */
  artifact: { name: string; path: string }
  /** Absent when the artifact itself names its columns and categories. */
  columns?: DeclaredColumn[]
  /** Rows with the answers of the library that made the artifact. */
  replay: { rows: FeatureRow[]; outputs: number[][] }
  curve: EpochRecord[]
  /** The rounds of the model, up to its best one; absent where the program does not tell. */
  rounds?: number
  /** What was ignored in the folder, one sentence each. */
  notes: string[]
  /** Package → version, as the program reported them. */
  environment: Record<string, string>
  /** What the libraries of the program have warned of. */
  warnings: string[]
}

/** Size limits in MiB. */
const maxMb = {
  'columns.json': 16,
  'replay.json': 64,
  'curve.json': 16,
  'rounds.json': 1,
  'environment.json': 1,
  'warnings.json': 1,
} as const
/** The limit of every format, checked before the file is digested. */
const maxArtifactMb = 64
const maxEpochs = 1_000
const maxPackages = 1_000
export const minReplayRows = 200
/** A program may leave more files than are read, such as those of its library. */
const limits = { maxFiles: 10_000, maxBytes: Infinity, maxDepth: 16 }

/** Throws `training_failed` for a missing or unreadable file, with its expected content, and `artifact_invalid` for wrong columns. */
export async function readResultFolder(folder: string): Promise<ProgramResult> {
  const names = (await listForeignFolder(folder, { limits, refuse })).map(({ name }) => name)
  const [name, ...others] = trainedFileNames.filter((each) => names.includes(each))
  if (name === undefined || others.length > 0)
    throw failed(
      name === undefined
        ? `has no artifact: one of ${trainedFileNames.join(', ')} is required in the folder "output" of the job, not ${names.slice(0, 10).join(', ') || 'an empty folder'}`
        : `has several artifacts, ${[name, ...others].join(', ')}: one is required`,
    )
  const artifact = await openForeignFile(folder, name, refuse)
  const { size } = await artifact.stat()
  await artifact.close()
  if (size > maxArtifactMb * 1_048_576)
    throw failed(`has a ${name} of ${size} bytes, more than ${maxArtifactMb} MiB`)
  const columns = names.includes('columns.json')
    ? parseDeclaredColumns(await readJson(folder, 'columns.json'))
    : undefined
  if (!names.includes('replay.json'))
    throw failed('has no replay.json: write rows and the answers of the library to them')
  const given = names.includes('curve.json') ? await readJson(folder, 'curve.json') : []
  return {
    artifact: { name, path: join(folder, name) },
    columns,
    replay: replayOf(await readJson(folder, 'replay.json'), columns),
    curve: curveOf(given),
    rounds: names.includes('rounds.json') ? roundsIn(await readJson(folder, 'rounds.json')) : undefined,
    notes: notesOf(given),
    environment: names.includes('environment.json')
      ? packagesOf(await readJson(folder, 'environment.json'))
      : {},
    warnings: names.includes('warnings.json') ? warningsOf(await readJson(folder, 'warnings.json')) : [],
  }
}

const maxWarnings = 20

function warningsOf(given: unknown): string[] {
  if (!isTexts(given)) throw failed('has a warnings.json that is not a list of texts')
  return given.slice(0, maxWarnings).map((each) => each.slice(0, 300))
}

const failed = (what: string) =>
  new DomainError('training_failed', `the result of the training program ${what}`)

function refuse(why: string): never {
  throw failed(`${why}: write plain files into the folder "output" of the job, and leave the folder there`)
}

async function readJson(folder: string, name: keyof typeof maxMb): Promise<unknown> {
  const file = await openForeignFile(folder, name, refuse)
  let text: string
  try {
    const { size } = await file.stat()
    if (size > maxMb[name] * 1_048_576)
      throw failed(`has a ${name} of ${size} bytes, more than ${maxMb[name]} MiB`)
    text = await file.readFile('utf8')
  } finally {
    await file.close()
  }
  try {
    return JSON.parse(name === 'curve.json' ? withoutNan(text) : text)
  } catch (error) {
    // JSON as Python's `json.dumps` writes it.
    const hint = /[[:,]\s*-?(?:NaN|Infinity)\b/.test(text)
      ? '; NaN and Infinity are no JSON: write null, and "inf" or "-inf" in the rows of replay.json'
      : ''
    throw failed(`has a ${name} that is not valid JSON: ${(error as Error).message}${hint}`)
  }
}

/** A diverged epoch of the curve, which only pictures show, must not cost the training. The texts of a JSON file stay as they are. */
function withoutNan(text: string): string {
  let isInText = false
  // Token by token: an expression for a whole text would read a file that is cut off once for each quote.
  return text.replace(/\\.|"|-?(?:NaN|Infinity)\b/gs, (token) => {
    if (token === '"') isInText = !isInText
    return isInText || /^[\\"]/.test(token) ? token : 'null'
  })
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')

/** A cell: a number, or `"inf"`, `"-inf"` or `"nan"`, which JSON lacks; the text of a category; null for a missing value. */
const nonFinite: Readonly<Record<string, number | null>> = { inf: Infinity, '-inf': -Infinity, nan: null }

function replayOf(given: unknown, columns: readonly DeclaredColumn[] | undefined): ProgramResult['replay'] {
  const {
    rows,
    outputs,
    columns: named,
  } = (given ?? {}) as { rows?: unknown; outputs?: unknown; columns?: unknown }
  if (!Array.isArray(rows) || !Array.isArray(outputs) || rows.length !== outputs.length)
    throw failed('has a replay.json without "rows" and "outputs" of one length')
  if (rows.length < minReplayRows) {
    throw failed(`has a replay.json with ${rows.length} rows, fewer than ${minReplayRows}`)
  }
  const names = isTexts(named) ? named : columns?.map(({ name }) => name)
  const texts = new Set(columns?.filter(({ vocabulary }) => vocabulary !== undefined).map(({ name }) => name))
  const cellOf = (name: string, cell: unknown, row: number): number | string | null => {
    if (cell === null || typeof cell === 'number') return cell
    if (typeof cell === 'boolean') return Number(cell)
    if (typeof cell !== 'string') throw failed(`has a replay.json whose row ${row} has no value for ${name}`)
    return !texts.has(name) && Object.hasOwn(nonFinite, cell) ? nonFinite[cell]! : cell
  }
  return {
    rows: rows.map((row: unknown, index) => {
      if (Array.isArray(row)) {
        if (names === undefined || row.length !== names.length)
          throw failed(
            `has a replay.json whose row ${index} has ${row.length} values, expected ${names?.length ?? 'an object with names'}`,
          )
        return Object.fromEntries(names.map((name, place) => [name, cellOf(name, row[place], index)]))
      }
      if (typeof row !== 'object' || row === null)
        throw failed(`has a replay.json whose row ${index} is not a row`)
      return Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, cellOf(name, cell, index)]))
    }),
    outputs: outputs.map((output: unknown, row) => {
      const numbers: unknown[] = Array.isArray(output) ? output : [output]
      if (numbers.length === 0 || !numbers.every((each) => Number.isFinite(each)))
        throw failed(`has a replay.json whose output ${row} is not a finite number`)
      return numbers as number[]
    }),
  }
}

/** At most `maxEpochs` epochs, evenly chosen, including the last one. */
function curveOf(given: unknown): EpochRecord[] {
  if (!Array.isArray(given)) throw failed('has a curve.json without a list')
  const step = Math.max(1, Math.ceil(given.length / maxEpochs))
  return given
    .filter((_each, index) => (given.length - 1 - index) % step === 0)
    .map((each: unknown) => (each ?? {}) as EpochRecord)
    .filter(({ epoch, loss }) => Number.isSafeInteger(epoch) && Number.isFinite(loss))
    .map(({ epoch, loss, validationLoss }) => ({
      epoch,
      loss,
      validationLoss: Number.isFinite(validationLoss) ? validationLoss : undefined,
    }))
}

function roundsIn(given: unknown): number {
  if (!isRounds(given)) throw failed('has a rounds.json that is no whole number from 1')
  return given
}

/** Rounds are stored as 32-bit integers. */
const isRounds = (given: unknown): given is number =>
  Number.isInteger(given) && Number(given) >= 1 && Number(given) < 2 ** 31

/** Notes on a curve with epochs whose loss is not finite. */
function notesOf(curve: unknown): string[] {
  const points = curve as readonly ({ loss?: unknown } | null)[]
  const count = points.filter((each) => each?.loss !== undefined && !Number.isFinite(each.loss)).length
  return count === 0
    ? []
    : [
        `curve.json: ${count} of ${points.length} epochs have a loss that is not a finite number and are left out`,
      ]
}

function packagesOf(given: unknown): Record<string, string> {
  const entries = Object.entries((given ?? {}) as object).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string' && entry[1].length <= 200,
  )
  return Object.fromEntries(entries.slice(0, maxPackages))
}
