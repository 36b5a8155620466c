/** Creates a project: a model file from a CSV, and the files around it. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename, isAbsolute, join, relative, resolve } from 'node:path'
import { isUtf8 } from 'node:buffer'
import {
  asClasses,
  asYesNo,
  inferColumns,
  inferKnownAt,
  inferLabel,
  inferTime,
  labelIssue,
  type InferredColumn,
} from '../../domain/project/infer-columns.ts'
import { expectedNarrowMargin } from '../../domain/evaluation/expected-evidence.ts'
import { defaultGatePolicy } from '../../domain/evaluation/policy.ts'
import { parseJson } from '../../domain/parse-json.ts'
import { projectFile, readProject } from '../../project.mjs'
import { checkout, readVersion } from '../../temporal.config.ts'
import { failure, usageError } from '../client/client.ts'
import { readText } from '../read-text.ts'
import type { Chosen } from './ask.ts'
import {
  isNumber,
  modelText,
  planSplit,
  pythonRequirements,
  requirementsFile,
  type Language,
  type PlannedSplit,
} from './model-text.ts'
import { packageJson, projectFiles, writeProject, type Written } from './write-project.ts'
import { shown } from '../../domain/postgres-text.ts'
import {
  csvIssueText,
  formatIssue,
  looksLikeValues,
  otherFormat,
  sameNames,
  sameNamesIssue,
} from '../../domain/validation/source-issue.ts'
import { cellsOfLine, layoutOf, scanCsv } from '../../domain/validation/csv-scan.ts'

export interface InitOptions {
  folder: string
  /** The CSV; default: the flowers of the example. */
  from?: string
  /** The name of the model; default: the name of the file. */
  name?: string
  label?: string
  time?: string
  /** Whether a numeric label holds classes or amounts; default: inferred from its values. */
  labelKind?: string
  /** The language of the model file; default: TypeScript. */
  language?: Language
  overwrite: boolean
  /** Confirms or changes the inferred columns. */
  choose(columns: readonly InferredColumn[], inferred: Chosen): Promise<Chosen>
}

export interface Initialised extends Written {
  folder: string
  model: string
  /** Path of the model file in the project. */
  file: string
  label: string
  /** Why this label was inferred; absent if it was named or chosen. */
  labelWhy?: string
  time?: string
  /** The column with the time at which the label became known. */
  knownAt?: string
  columns: readonly InferredColumn[]
  asOf?: string
  /** The assumption about the label, and how to change it. */
  note?: string
  /** That the margin of the gate is narrower than the test rows can show. */
  narrow?: string
  /** That the rows are a series over time, of which the features tell nothing. */
  forecast?: string
  /** The checkout that packs Tenure, when the project names no package that it could install. */
  packedBy?: string
  /** Whether the types were inferred from only the first part of the file. */
  cut: boolean
}

export async function initProject(options: InitOptions): Promise<Initialised> {
  const folder = resolve(options.folder)
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === false)
    throw usageError(`${options.folder} is a file: name the rows with --from ${options.folder}`)
  // Overwriting would replace the files of Tenure itself.
  if (folder === resolve(checkout))
    throw failure({
      code: 'refused',
      detail: `${folder} is the checkout of Tenure, and nothing was written`,
      remedy: 'Name a folder for the project, such as `npx tenure init ../my-project --from data.csv`.',
    })
  const csv = resolve(options.from ?? join(checkout, 'models', 'data', 'iris.csv'))
  const model = options.name ?? modelNameOf(csv)
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(model))
    throw usageError(
      `--name must be up to 63 lower-case letters, digits and hyphens, beginning with a letter, not ${model}`,
    )
  if (otherFiles.includes(model))
    throw usageError(`--name ${model} is taken by another file of the folder for models`)
  const { names, rows, last } = readCsvTable(csv)
  const inferred = inferColumns(names, rows).map((column, at) => untilLast(column, names, last, at))
  const found = options.label === undefined ? inferLabel(inferred) : undefined
  const chosen = await options.choose(inferred, chosenBy(options, inferred))
  const { label, note } = labelOf(asYesNo(inferred, chosen.label, rows), options.labelKind)
  const columns = inferred.map((each) => (each === chosen.label ? label : each))
  const { time } = chosen
  const knownAt = inferKnownAt(columns, rows, time)
  if (!columns.some((each) => each !== label && each.use !== 'none' && each.use !== 'time'))
    throw usageError(
      `no column is left to predict ${label.column} from: name another file with --from (${unusedColumns(columns)})`,
    )
  const inside = relative(folder, csv)
  const isInside = !isAbsolute(inside) && !inside.startsWith('..')
  const file = isInside ? inside : join('data', basename(csv))
  const times = [time, knownAt].flatMap((each) => (each?.use === 'time' ? [momentAfter(each.to)] : []))
  const asOf = times.sort().at(-1)
  const { language = 'typescript' } = options
  const plan = {
    language,
    name: packageName(folder),
    model,
    tenure: dependencyFor(folder),
    asOf,
    example: JSON.stringify(exampleRow(columns, label, rows[0] ?? [])),
  }
  const models = existsSync(join(folder, projectFile)) ? readProject(folder).settings.models : 'models'
  const policy = relative(models, 'policies/release.ts')
  const repeats = mostRepeat(columns, label, rows)
  const split = planSplit({ columns, label, time, knownAt }, rows, { asOf, isCut: last.length > 0 })
  const text = modelText({
    language,
    name: model,
    file,
    columns,
    label,
    time,
    knownAt,
    policy,
    note,
    repeats,
    split,
  })
  const modelFile = `${models}/${model}.${language === 'python' ? 'py' : 'ts'}`
  const requirements = language === 'python' ? { [`${models}/${requirementsFile}`]: pythonRequirements } : {}
  const content = {
    model: { [modelFile]: text, ...(isInside ? {} : { [file]: readFileSync(csv) }) },
    shared: { ...projectFiles(plan), ...requirements },
    manifest: packageJson(plan),
  }
  const written = writeProject(folder, content, options)
  return {
    ...written,
    folder,
    model,
    file: modelFile,
    label: label.column,
    labelWhy: found?.label === chosen.label ? found.why : undefined,
    time: time?.column,
    knownAt: knownAt?.column,
    columns,
    asOf,
    note,
    forecast: forecastOf({ columns, label, time }, rows),
    narrow: narrowOf(label, split),
    packedBy: plan.tenure === readVersion() && existsSync(join(checkout, '.git')) ? checkout : undefined,
    cut: last.length > 0,
  }
}

/** A column of times reaches to those of the last rows, of which the others are not read. */
function untilLast(
  column: InferredColumn,
  names: readonly string[],
  last: readonly (readonly string[])[],
  place: number,
): InferredColumn {
  if (column.use !== 'time' || last.length === 0) return column
  const found = inferColumns(names, last)[place]!
  if (found.use !== 'time' || found.format !== column.format || found.to <= column.to) return column
  return { ...column, to: found.to }
}

/** Whether most rows have the same features as another one, and so would be few rows for the split. */
function mostRepeat(
  columns: readonly InferredColumn[],
  label: InferredColumn,
  rows: readonly (readonly string[])[],
): boolean {
  const used = columns.flatMap((each, at) => (each === label || each.use === 'none' ? [] : [at]))
  const different = new Set(rows.map((row) => JSON.stringify(used.map((at) => row[at]))))
  return different.size < rows.length / 2
}

/** A number for each time, and for each of a few series, has no features but its own past. */
function forecastOf(
  {
    columns,
    label,
    time,
  }: { columns: readonly InferredColumn[]; label: InferredColumn; time?: InferredColumn },
  rows: readonly (readonly string[])[],
): string | undefined {
  const others = columns.filter((each) => each !== label && each !== time && each.use !== 'none')
  if (time === undefined || label.use !== 'number' || !others.every(({ use }) => use === 'category'))
    return undefined
  const places = [time, ...others].map((each) => columns.indexOf(each))
  const different = new Set(rows.map((row) => JSON.stringify(places.map((at) => row[at]))))
  if (different.size < rows.length) return undefined
  return `This is a forecast: each row is ${label.column} of a time${others.length === 0 ? '' : ` and of ${others.map(({ column }) => column).join(', ')}`}, and nothing else is known before. Compute features of the past in \`rows\`, such as lag(${label.column}, 7) over (${others.length === 0 ? '' : `partition by ${others.map(({ column }) => column).join(', ')} `}order by ${time.column}), and the weekday.`
}

/** Names of files in the folder of models that define no model. */
const otherFiles = ['define', 'index']

const unusedColumns = (columns: readonly InferredColumn[]): string =>
  columns
    .slice(0, 20)
    .flatMap((each) => (each.use === 'none' ? [`${each.column}: ${each.why}`] : []))
    .join('; ')

/** By the default margin, which the model file does not change. */
function narrowOf(label: InferredColumn, { testRows: rows }: PlannedSplit): string | undefined {
  const [task, share] =
    label.use === 'flag' ? (['binary', label.positives] as const) : (['multiclass', 0] as const)
  return label.use === 'number'
    ? undefined
    : expectedNarrowMargin(defaultGatePolicy(task), { rows, positives: Math.round(share * rows) })
}

/** Treats the label as classes or as an amount, with a note if its numbers allow both. */
function labelOf(label: InferredColumn, kind: string | undefined): { label: InferredColumn; note?: string } {
  if (kind !== undefined && kind !== 'classes' && kind !== 'number')
    throw usageError(`--label-kind must be classes or number, not ${kind}`)
  if (label.use !== 'number') {
    if (kind === 'number')
      throw usageError(
        `--label-kind number: ${label.column} holds ${label.use === 'flag' ? 'yes or no' : 'texts'}`,
      )
    return { label }
  }
  const { codes } = label
  const classes = asClasses(label)
  if (kind === 'classes' && classes === undefined)
    throw usageError(`--label-kind classes: ${label.column} has more than 50 different numbers`)
  if (codes === undefined || classes === undefined || kind === 'number') return { label }
  if (kind === 'classes') return { label: classes }
  return codes.likely
    ? {
        label: classes,
        note: `${label.column} has the numbers ${codes.values.join(', ')} only, which count as classes. If they are amounts, run \`tenure init\` again with --label-kind number --overwrite.`,
      }
    : { label }
}

/** Returns the columns that the options name, or else the inferred ones. */
function chosenBy(
  { label: labelName, time: timeName }: InitOptions,
  columns: readonly InferredColumn[],
): Chosen {
  const named = (option: string, name: string): InferredColumn => {
    const found = columns.find(({ column }) => column === name)
    if (found !== undefined) return found
    throw usageError(
      `${option} must be one of ${columns.map(({ column }) => column).join(', ')}, not ${name}`,
    )
  }
  const label = labelName === undefined ? inferLabel(columns)?.label : named('--label', labelName)
  if (label === undefined)
    throw usageError(`no column can be predicted: name another file with --from (${unusedColumns(columns)})`)
  const issue = labelIssue(label)
  if (issue !== undefined) throw usageError(`--label ${label.column} cannot be predicted: ${issue}`)
  const time = timeName === undefined ? inferTime(columns) : named('--time', timeName)
  if (time !== undefined && time.use !== 'time')
    throw usageError(
      `--time ${time.column} holds no times such as 2026-03-01 or 2026-03-01T12:00:00Z${time.use === 'none' ? `: ${time.why}` : ''}`,
    )
  return { label, time }
}

function modelNameOf(csv: string): string {
  const bare = basename(csv)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
  const name = bare.slice(0, 63) || 'model'
  return otherFiles.includes(name) ? `${name}-model` : name
}

const packageName = (folder: string): string =>
  basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '') || 'project'

/** Returns the dependency on `tenure` in the package.json of this folder, with its path relative to the new folder. */
function dependencyFor(folder: string): string {
  const { dependencies = {} } =
    parseJson<{ dependencies?: Record<string, string> }>(readText('package.json') ?? '') ?? {}
  const [, path] = /^file:(.+)$/.exec(dependencies['tenure'] ?? '') ?? []
  return path === undefined
    ? (dependencies['tenure'] ?? readVersion())
    : `file:${relative(folder, resolve(path))}`
}

/** Returns the moment after a time, in UTC, as rows are read. */
function momentAfter(time: string): string {
  const iso = time.replace(' ', 'T')
  const hasZone = /T.*(Z|[+-]\d\d:?\d\d)$/.test(iso)
  return new Date(Date.parse(hasZone || !iso.includes('T') ? iso : `${iso}Z`) + 1_000).toISOString()
}

function exampleRow(
  columns: readonly InferredColumn[],
  label: InferredColumn,
  values: readonly string[],
): Record<string, string | number | boolean | null> {
  const row: Record<string, string | number | boolean | null> = {}
  for (const [place, each] of columns.entries()) {
    if (each === label || each.use === 'none' || each.use === 'time') continue
    const value = values[place]?.trim() ?? ''
    row[each.name] =
      value === ''
        ? null
        : !isNumber(each)
          ? value
          : /^(true|false)$/i.test(value)
            ? value.toLowerCase() === 'true'
            : Number(value)
  }
  return row
}

// Reads the first rows of a CSV for `tenure init`.

/** Only this many bytes of a larger file are read, and these at its end, which tell how far its times reach. */
const maxBytes = 16 * 1_048_576
const maxEndBytes = 1_048_576
const newlineByte = 0x0a

export interface CsvTable {
  names: string[]
  rows: string[][]
  /** Of a file that is not read as a whole, the rows at its end; none of another file. */
  last: string[][]
}

/** Throws for a file that cannot be read as a CSV with a header and rows. */
function readCsvTable(path: string): CsvTable {
  const { bytes, end } = readEnds(path)
  const format = bytes.length === 0 ? undefined : otherFormat(bytes)
  if (format !== undefined) throw refused(`${path}: ${formatIssue(format)}`)
  const cut = bytes.length === maxBytes
  // The cut may split a character in the last line, so the check ends before that line.
  if (!isUtf8(cut ? bytes.subarray(0, bytes.lastIndexOf(newlineByte) + 1) : bytes))
    throw refused(`${path}: the text is not encoded as UTF-8: save the file as UTF-8`)
  const text = new TextDecoder().decode(bytes)
  const layout = layoutOf(text)
  const { names, skippedLines } = layout
  const delimiter = String.fromCharCode(layout.delimiter)
  const newline = String.fromCharCode(layout.newline)
  const scan = scanCsv(layout)
  scan.push(new TextEncoder().encode(cut ? text.slice(0, text.lastIndexOf(newline) + 1) : text))
  if (!cut) scan.end()
  if (scan.issue !== undefined)
    throw refused(`${path}, line ${scan.issue.line}: ${csvIssueText(scan.issue, names.length, delimiter)}`)
  const lines = recordsOf(text, delimiter, newline).slice(skippedLines + 1, cut ? -1 : undefined)
  const rows = lines
    .filter((line) => line.trim() !== '')
    .map((line) => cellsOfLine(line.replace(/\r$/, ''), delimiter))
  if (names.length < 2 || rows.length === 0)
    throw refused(`${path}: a line with the names of two columns or more is required, and rows below it`)
  if (looksLikeValues(names))
    throw refused(
      `${path}: the first line holds values (${names
        .slice(0, 5)
        .map((name) => shown(name))
        .join(', ')}) and no names: write the names of the columns above it`,
    )
  const unnamed = names.indexOf('')
  // The index of a table written by pandas has no name and stands first.
  if (unnamed > 0) throw refused(`${path}: column ${unnamed + 1} has no name: name it in the first line`)
  const same = sameNames(names)
  if (same !== undefined) throw refused(`${path}: ${sameNamesIssue(same)}`)
  // The first line is cut, and a line break in a value may cut others.
  const last = recordsOf(new TextDecoder().decode(end), delimiter, newline)
    .slice(1)
    .map((line) => cellsOfLine(line.replace(/\r$/, ''), delimiter))
    .filter((cells) => cells.length === names.length)
  return { names, rows, last }
}

/** Splits the text into rows. A value in quotes may contain line breaks; a quote within another value is an ordinary sign. */
function recordsOf(text: string, delimiter: string, newline: string): string[] {
  const records: string[] = []
  let from = 0
  let isQuoted = false
  let mayOpen = true
  for (let at = 0; at < text.length; at++) {
    const sign = text[at]!
    if (sign === '"') {
      // After the end of a quoted value, a quote is an escaped quote of the same value.
      if (isQuoted || mayOpen) isQuoted = !isQuoted
    } else if (isQuoted) continue
    else if (sign === newline) {
      records.push(text.slice(from, at))
      from = at + 1
      mayOpen = true
    } else mayOpen = sign === delimiter
  }
  return from < text.length ? [...records, text.slice(from)] : records
}

const refused = (detail: string) =>
  failure({ code: 'refused', detail, remedy: 'Correct the file, or name another one with --from.' })

function readEnds(path: string): { bytes: Buffer; end: Buffer } {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    throw usageError(`--from ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  const readFrom = (start: number, most: number): Buffer => {
    const buffer = Buffer.alloc(most)
    let length = 0
    for (let read = 1; read > 0 && length < most; length += read)
      read = readSync(file, buffer, length, most - length, start + length)
    return buffer.subarray(0, length)
  }
  try {
    const { size } = fstatSync(file)
    const bytes = readFrom(0, maxBytes)
    const end =
      size > maxBytes ? readFrom(Math.max(maxBytes, size - maxEndBytes), maxEndBytes) : Buffer.alloc(0)
    return { bytes, end }
  } catch (error) {
    throw usageError(`--from ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  } finally {
    closeSync(file)
  }
}
