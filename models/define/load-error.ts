/** Explains in one sentence, with the line, why a model file cannot be loaded. */
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { isError } from '../../domain/errors.ts'
import { home } from '../../project.mjs'
import { invalid } from './code-digest.ts'
import { isTextWord, textAdvice } from './data/features.ts'

const ours = ['models/define/', 'models/define.ts', 'models/index.ts'].map((path) => join(home, path))
const maxLength = 300
const maxFileBytes = 1_000_000

/** Returns the issues of an error thrown by a model file, its imports, or their loader. */
export async function explainLoadError(error: unknown, path: string): Promise<string[]> {
  if (isError(error, 'invalid_model_file'))
    return (error.context['issues'] as string[] | undefined) ?? [error.message]
  if (!(error instanceof Error)) return [`it throws while it is loaded: ${String(error).slice(0, maxLength)}`]
  const [first = ''] = error.message.split('\n')
  const message = first.slice(0, maxLength)
  const at = (sentence: string) => [`${placeOf(error, path)}${sentence}`]
  const { errors = [] } = error as {
    errors?: { text: string; location: { file: string; line: number } | null }[]
  }
  const [compiled] = errors
  if (compiled !== undefined) {
    const { location, text } = compiled
    const place = location === null ? '' : placeText(resolve(location.file), location.line, path)
    return [`${place}the code cannot be parsed: ${text}`]
  }
  const [, absent] = /^Cannot find (?:package|module) '([^']+)'/.exec(message) ?? []
  if (absent !== undefined) return [`${await lineOf(`'${absent}'`, path)}${noPackage(absent)}`]
  const [, module = '', missingExport] =
    /module '([^']+)' does not provide an export named '([^']+)'/.exec(message) ?? []
  if (missingExport !== undefined) {
    const file = module === 'tenure' ? ours[1]! : resolve(dirname(path), module)
    return at(await noExport(file, missingExport, path))
  }
  if ('code' in error && error.code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
    return at(message.replace(' in strip-only mode', ': only the types of a model file are removed'))
  if (message.endsWith('before initialization'))
    return at(`${message.replace(/^C/, 'c')}: move its definition up`)
  const [, word = ''] = /^(require|module|exports) is not defined/.exec(message) ?? []
  if (word !== '') return at(`${word} belongs to CommonJS: write \`import … from …\` and \`export const …\``)
  const [, name] = /^(\S+) is not defined$/.exec(message) ?? []
  if (name !== undefined) return at(`${name} is not defined: import it, or correct the name`)
  return at(`it throws while it is loaded: ${message}`)
}

const noPackage = (name: string): string =>
  `the package "${name}" is not installed: run \`npm install ${name}\`, or remove the import`

/** Explains a missing export of a module. Files of the project import the vocabulary as the package `tenure`. */
async function noExport(file: string, word: string, path: string): Promise<string> {
  const isPackage = file === ours[1] && /from ['"]tenure['"]/.test(await readFile(path, 'utf8'))
  const module = isPackage ? 'tenure' : basename(file)
  if (file === ours[1] && isTextWord(word)) return `${module} exports no ${word}: ${textAdvice}`
  const text = await readFile(file, 'utf8').catch(() => '')
  if (new RegExp(`\\b(type|interface) ${word}\\b|\\btype \\{[^}]*\\b${word}\\b`).test(text))
    return `${module} exports ${word} as a type: write \`type ${word}\``
  const alike = new RegExp(`\\b${word}\\b`, 'i').exec(text)?.[0]
  const advice = alike === undefined ? 'correct the name' : `did you mean ${alike}?`
  return `${module} exports no ${word}: ${advice}`
}

async function lineOf(text: string, path: string): Promise<string> {
  const before = (await readFile(path, 'utf8')).replaceAll('"', "'").split(text)
  return before.length < 2 ? '' : placeText(path, before[0]!.split('\n').length, path)
}

const placeText = (file: string, line: number, path: string): string =>
  file === path ? `line ${line}: ` : `${relative(dirname(path), file)}, line ${line}: `

/** Returns the innermost stack frame in the model file or a file of its folder; empty without such a frame. */
function placeOf({ stack = '' }: Error, path: string): string {
  for (const [, file = '', line] of stack.matchAll(/(?:file:\/\/)?(\/[^?():\n]+)(?:\?[^:)\n]*)?:(\d+)/g))
    if (isOfModel(file, path)) return placeText(file, Number(line), path)
  return ''
}

const isOfModel = (file: string, path: string): boolean =>
  file === path ||
  (file.startsWith(`${dirname(path)}/`) &&
    !file.includes('/node_modules/') &&
    !ours.some((own) => file.startsWith(own)))

/** Whether code of the model file, or of its folder, threw the error. */
export const isThrownBy = (error: unknown, path: string): boolean =>
  error instanceof Error && placeOf(error, path) !== ''

/** Throws if the bytes of a file cannot be a model file. */
export async function checkBytes(path: string): Promise<void> {
  const bytes = await readFile(path)
  const issue = issueOfBytes(bytes)
  if (issue !== undefined) throw invalid(issue)
}

function issueOfBytes(bytes: Buffer): string | undefined {
  if (bytes.length > maxFileBytes)
    return `the file has ${(bytes.length / 1e6).toFixed(1)} MB, at most 1 MB is allowed: keep rows in a file below models/data, and read them with csv(…) or parquet(…)`
  const text = bytes.toString('utf8')
  const place = text.indexOf('\ufffd')
  return place < 0
    ? undefined
    : `line ${text.slice(0, place).split('\n').length}: the text is not encoded as UTF-8: save the file as UTF-8`
}

/** Runs code of a model file in which `process.exit` throws, because an exiting process could not report the reason. */
export async function withoutExit<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  const { exit } = process
  process.exit = (code) => {
    const error = new Error()
    const place = placeOf(error, path)
    // A call from outside the model file ends the process as usual.
    if (place === '') return exit(code)
    const issue = `${place}process.exit(${code ?? ''}) ends the process that runs the file: remove the call`
    throw invalid(issue)
  }
  try {
    return await work()
  } finally {
    process.exit = exit
  }
}
