/**
 * Loads the model files of the project: every `.ts` file of its `models/` except `define.ts` and `index.ts`, and every `.py` file that calls
 * `define_model`. A new model needs no registration, and a broken file does not affect the others.
 */
import { readdir } from 'node:fs/promises'
import { basename, dirname, extname, join, relative } from 'node:path'
import nodeModule from 'node:module'
import { pathToFileURL } from 'node:url'
import type { ModelDefinition } from '../domain/model-definition.ts'
import { DomainError } from '../domain/errors.ts'
import { home, modelsDirectory, project } from '../project.mjs'
import { invalid, readCode } from './define/code-digest.ts'
import { checkBytes, explainLoadError, withoutExit } from './define/load-error.ts'
import type { Model } from './define/model.ts'
import { digestWithPrograms } from './define/program-files.ts'
import { makeModel, printModel, recordWords, type PrintedModel } from './define/printed-model.ts'
import { isPythonModel, printPythonModel } from './define/python-model.ts'

export { modelsDirectory }

export interface LoadedModel {
  name: string
  file: string
  /** The digest of the file, its imports and its training program. */
  codeDigest: string
  definition: ModelDefinition
  train: Model['train']
  metrics: Model['metrics']
  /** The definition as data that needs no run of the file. */
  print: () => PrintedModel
}

export interface BrokenModel {
  file: string
  /** Each issue begins with its place in the file, if it has one. */
  issues: string[]
}

/** Lists the model files of a directory by name. */
export async function listModelFiles(directory = modelsDirectory): Promise<string[]> {
  const files = await readFolder(directory)
  const isModelFile = async (file: string): Promise<boolean> =>
    file.endsWith('.ts')
      ? !file.endsWith('.d.ts') && file !== 'define.ts' && file !== 'index.ts'
      : await isPythonModel(join(directory, file))
  const are = await Promise.all(files.map(isModelFile))
  return files.filter((_, place) => are[place]).sort()
}

/** The name of a model by its file. */
export const modelOfFile = (file: string): string => basename(file, extname(file))

/** Returns the name of the file of a model; undefined without one. */
export async function fileOfModel(name: string, directory = modelsDirectory): Promise<string | undefined> {
  const files = await readFolder(directory)
  if (files.includes(`${name}.ts`)) return `${name}.ts`
  const file = `${name}.py`
  return files.includes(file) && (await isPythonModel(join(directory, file))) ? file : undefined
}

/** Returns an empty list if the project has no such folder. */
async function readFolder(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (directory === modelsDirectory && (error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Loads a file, again if it has changed. Never throws: returns a broken file with its issues. */
export async function loadModelFile(
  file: string,
  directory = modelsDirectory,
): Promise<LoadedModel | BrokenModel> {
  const path = join(directory, file)
  try {
    return await loadFile(path)
  } catch (error) {
    return { file, issues: await explainLoadError(error, path) }
  }
}

/** Loads all model files into this process. `loadModelsInChild` survives a file that exits or hangs. */
export async function loadModels(
  directory = modelsDirectory,
): Promise<{ models: LoadedModel[]; broken: BrokenModel[] }> {
  const models: LoadedModel[] = []
  const broken: BrokenModel[] = []
  for (const file of await listModelFiles(directory)) {
    const loaded = await loadModelFile(file, directory)
    if ('issues' in loaded) broken.push(loaded)
    else models.push(loaded)
  }
  return { models, broken }
}

/** Loads a model by its name. Throws `model_not_found`, or `invalid_model_file` with its issues. */
export async function loadModel(name: string, directory = modelsDirectory): Promise<LoadedModel> {
  const file = /^[a-z][a-z0-9-]*$/.test(name) ? await fileOfModel(name, directory) : undefined
  if (file === undefined)
    throw new DomainError('model_not_found', `no model file for ${JSON.stringify(name)}`)
  try {
    return await loadFile(join(directory, file))
  } catch (error) {
    const issues = await explainLoadError(error, join(directory, file))
    throw new DomainError('invalid_model_file', `${file}: ${issues.join('; ')}`, { file, issues })
  }
}

const vocabularyUrl = pathToFileURL(join(home, 'models/define.ts')).href
const sharedUrl = 'tenure:vocabulary'

/** Node's hooks for imports, which its types for Node 20 lack. */
interface Hooks {
  resolve(specifier: string, context: { parentURL?: string }, next: Next): Resolved
  load(url: string, context: object, next: (url: string, context: object) => object): object
}
interface Resolved {
  url: string
  format?: string
  shortCircuit?: boolean
}
type Next = (specifier: string, context: object) => Resolved

let shared: Promise<void> | undefined

/**
 * Makes Node give the vocabulary of this process to the files that import it by its file or as the package `tenure`; otherwise the process
 * would load it once more from its sources. The imports of a model file are loaded again with it.
 */
export const shareVocabulary = (): Promise<void> => (shared ??= registerVocabulary())

async function registerVocabulary(): Promise<void> {
  const vocabulary = recordWords(await import('./define.ts'))
  Object.assign(globalThis, { [Symbol.for(sharedUrl)]: vocabulary })
  const source = `export const { ${Object.keys(vocabulary).join(', ')} } = globalThis[Symbol.for('${sharedUrl}')]`
  const module = { format: 'module', source, shortCircuit: true }
  const { registerHooks } = nodeModule as unknown as { registerHooks(hooks: Hooks): void }
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === 'tenure') return { url: sharedUrl, shortCircuit: true }
      const found = next(specifier, ofProject(specifier, context))
      if (found.url === vocabularyUrl) return { url: sharedUrl, shortCircuit: true }
      const isOwn = found.url.startsWith('file:') && !found.url.includes('/node_modules/')
      const version = isOwn ? (/\?v=\w+$/.exec(context.parentURL ?? '')?.[0] ?? '') : ''
      const url = `${found.url}${version}`
      // A module, also in a folder without `"type": "module"`.
      return { ...found, url, ...(/\.ts\?v=\w+$/.test(url) && { format: 'module-typescript' }) }
    },
    load: (url, context, next) => (url === sharedUrl ? module : next(url, context)),
  })
}

const projectUrl = pathToFileURL(`${project.folder}/`).href

/** A file that was sent lies in a folder of its own, and imports the packages of the project. */
const ofProject = (specifier: string, context: { parentURL?: string }): { parentURL?: string } =>
  /^[^./]/.test(specifier) &&
  !/^\w+:/.test(specifier) &&
  /\?v=\w+$/.test(context.parentURL ?? '') &&
  !context.parentURL!.startsWith(projectUrl)
    ? { ...context, parentURL: projectUrl }
    : context

/** Imports a file. Node caches modules by their URL; the digest in the URL makes an edited file a new module. */
async function importFile(path: string, digest: string): Promise<Record<string, unknown>> {
  await shareVocabulary()
  return (await import(`${pathToFileURL(path).href}?v=${digest.slice(-16)}`)) as Record<string, unknown>
}

async function loadFile(path: string): Promise<LoadedModel> {
  const [file, name, extension] = [basename(path), modelOfFile(path), extname(path)]
  await checkBytes(path)
  const { digest, circle } = await readCode(path)
  if (circle !== undefined) throw invalid(circleIssue(circle))
  const printed = extension === '.py' ? await printPythonModel(path) : undefined
  const model =
    printed === undefined
      ? await importModel(path, digest, name)
      : makeModel(path, printed, await import('./define.ts'))
  const { definition, train, metrics } = model
  if (extension === '.py' && (await fileOfModel(name, dirname(path))) !== file)
    throw invalid(`name: ${name}.ts defines the model ${name} too: remove one of the two`)
  if (definition.name !== name) {
    const issue = `"${definition.name}" must be in ${definition.name}${extension}, not in ${file}`
    throw new DomainError('invalid_model_file', `the model ${issue}`, { issues: [`name: ${issue}`] })
  }
  const codeDigest = await digestWithPrograms(digest, dirname(path), definition)
  const print = () => printed ?? printModel(model)
  return { name, file: path, codeDigest, definition, train, metrics, print }
}

/** Runs a file in TypeScript and returns its model. */
async function importModel(path: string, digest: string, name: string): Promise<Model> {
  const exported = await withoutExit(path, () => importFile(path, digest))
  const [model, ...others] = new Set(Object.values(exported).filter(isModel))
  if (model === undefined || others.length > 0) throw invalid(exportsIssue(exported, name))
  return model
}

function isModel(value: unknown): value is Model {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'tenure-model'
}

/** Describes an import cycle, in which values are undefined while it is loaded. */
const circleIssue = (circle: readonly string[]): string =>
  `${circle.map((file) => relative(dirname(circle[0]!), file)).join(' imports ')}: move what these files share into another file`

/** Describes the exports that a model file needs, given its actual exports. */
function exportsIssue(exported: Record<string, unknown>, name: string): string {
  const models = Object.keys(exported).filter((key) => isModel(exported[key]))
  const issue = (advice: string) =>
    `exports: one model made with defineModel is required, not ${models.length}: ${advice}`
  if (models.length > 1) return issue(`move all but one of ${models.join(', ')} into files of their own`)
  for (const [key, value] of Object.entries(exported)) {
    if (value instanceof Promise) return issue(`${key} is a promise: export its result, with await`)
    if (typeof value === 'function') return issue(`${key} is a function: export what defineModel returns`)
  }
  return issue(
    `write \`export const ${name.replace(/-./g, ([, letter = '']) => letter.toUpperCase())} = defineModel({ … })\``,
  )
}
