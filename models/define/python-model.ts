/**
 * Loads a model file in Python. A child process runs the file and prints what it says as words of the vocabulary with their arguments; the
 * functions of the vocabulary then make and check the definition as that of a file in TypeScript.
 */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { promisify } from 'node:util'
import { bareEnvironment } from '@tenure/embedded/install/machine'
import { DomainError, isError } from '../../domain/errors.ts'
import { visibleText } from '../../domain/visible-text.ts'
import { home } from '../../project.mjs'
import { invalid } from './code-digest.ts'
import { defineModel } from './define-model.ts'
import type { Model } from './model.ts'

/** Whether a file is a model file in Python, and not a program or a module of one. A folder and a link that leads nowhere are none. */
export async function isPythonModel(path: string): Promise<boolean> {
  if (extname(path) !== '.py') return false
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EISDIR' || error.code === 'ENOENT') return ''
    throw error
  })
  return /\bdefine_model\s*\(/.test(text)
}

/** What `python -m tenure.define` prints. */
export interface PrintedModel {
  model?: Record<string, unknown>
  /** Issues that only the file itself shows, with their lines. */
  issues: string[]
  /** The lines of the fields by their places: `release.stages[0]` → 12. */
  lines?: Record<string, number>
}

type Vocabulary = Readonly<Record<string, unknown>>

/** Throws `invalid_model_file` with all issues in `context.issues`; each begins with its line. */
export const loadPythonModel = async (path: string, vocabulary: Vocabulary): Promise<Model> =>
  makePythonModel(path, await printPythonModel(path), vocabulary)

/** Makes the model of what its file has printed, here or on another machine. Throws as `loadPythonModel` does. */
export function makePythonModel(path: string, printed: PrintedModel, vocabulary: Vocabulary): Model {
  const { model, lines = {} } = printed
  const issues = [...printed.issues]
  if (model === undefined || issues.length > 0) throw withIssues(path, issues)
  const made: Record<string, unknown> = {}
  for (const [field, value] of Object.entries(model))
    try {
      made[field] = revive(value, vocabulary)
    } catch (error) {
      issues.push(`${field}: has the wrong shape: ${error instanceof Error ? error.message : error}`)
    }
  const placed = (all: readonly string[]) => all.map((issue) => `${lineOf(issue, lines)}${issue}`)
  if (issues.length > 0) throw withIssues(path, placed(issues))
  try {
    return defineModel(made as unknown as Parameters<typeof defineModel>[0])
  } catch (error) {
    if (!isError(error, 'invalid_model_file')) throw error
    throw withIssues(path, placed((error.context['issues'] as string[] | undefined) ?? [error.message]))
  }
}

const withIssues = (path: string, issues: readonly string[]): DomainError =>
  new DomainError('invalid_model_file', `${basename(path)}: ${issues.join('; ')}`, { issues })

/** Returns the line of the place of an issue, or of the nearest part around it that has one; empty without one. */
function lineOf(issue: string, lines: Readonly<Record<string, number>>): string {
  let place = /^[\w.[\]-]+/.exec(issue)?.[0] ?? ''
  while (place !== '') {
    if (Object.hasOwn(lines, place)) return `line ${lines[place]}: `
    place = place.replace(/(^|\.)[^.[\]]*$|\[[^\]]*\]?$/, '')
  }
  return Object.hasOwn(lines, 'model') ? `line ${lines['model']}: ` : ''
}

/** Calls the words of printed data. Only names of the vocabulary are called. */
function revive(value: unknown, vocabulary: Vocabulary): unknown {
  if (Array.isArray(value)) return value.map((each) => revive(each, vocabulary))
  if (typeof value !== 'object' || value === null) return value
  if ('$word' in value && 'arguments' in value && Array.isArray(value.arguments)) {
    // An argument that is left out in Python is `None` there.
    const given = value.arguments.map((each: unknown) =>
      each === null ? undefined : revive(each, vocabulary),
    )
    const name = String(value.$word)
    if (name === 'RegExp') return new RegExp(String(given[0]), String(given[1]))
    const word: unknown = Object.hasOwn(vocabulary, name) ? vocabulary[name] : undefined
    if (typeof word !== 'function') throw new Error(`there is no word ${name}`)
    // Of `postgres(database, …)` the first argument is left out, not undefined.
    return (word as (...given: unknown[]) => unknown)(
      ...(name === 'postgres' ? given.filter((each) => each !== undefined) : given),
    )
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, revive(each, vocabulary)]))
}

/** The program ends itself a little earlier, so that it outlives neither this process nor its time. */
const limitMs = 20_000
const maxMemoryKib = 1_048_576
const maxOutputBytes = 16_777_216
const interpreter = 'python3'
const sources = join(home, 'packages', 'python', 'src')

const run = promisify(execFile)

/** Runs a model file in Python. Throws `invalid_model_file`. */
export async function printPythonModel(path: string): Promise<PrintedModel> {
  const script = 'ulimit -d "$0" 2>/dev/null; exec "$@"'
  try {
    const { stdout } = await run(
      '/bin/sh',
      ['-c', script, String(maxMemoryKib), interpreter, '-m', 'tenure.define', path],
      {
        cwd: sources,
        env: {
          ...bareEnvironment(),
          PYTHONPATH: sources,
          PYTHONDONTWRITEBYTECODE: '1',
          PYTHONHASHSEED: '0',
        },
        timeout: limitMs,
        killSignal: 'SIGKILL',
        maxBuffer: maxOutputBytes,
      },
    )
    return JSON.parse(stdout) as PrintedModel
  } catch (error) {
    throw invalid(reasonFor(error as { code?: unknown; signal?: string; stderr?: string; message: string }))
  }
}

const maxLength = 300

function reasonFor({
  code,
  signal,
  stderr = '',
  message,
}: {
  code?: unknown
  signal?: string
  stderr?: string
  message: string
}): string {
  if (code === 127)
    return `there is no ${interpreter} on this machine, which reads model files in Python: install it`
  if (signal === 'SIGALRM' || signal === 'SIGKILL')
    return 'it was not read within 15 s: an endless loop, or work that belongs into train(job)'
  const [last = message] = visibleText(stderr).trim().split('\n').slice(-1)
  return `${interpreter} cannot read it: ${last.slice(0, maxLength)}`
}
