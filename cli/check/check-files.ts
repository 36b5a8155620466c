/**
 * Checks the files of a model that were sent with a key, as `tenure check` does, without running their training. Reads them in this process,
 * and runs the model file in another one with nothing but its folder.
 */
import { fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename, dirname, extname, join, relative } from 'node:path'
import { withMemoryLimit } from '@tenure/predictors/memory-limit'
import { compileScript } from '../../activities/check/compile-script.ts'
import { gateOnlyPartsOf, issueOfBusiness } from '../../activities/data/check-sql.ts'
import { isError } from '../../domain/errors.ts'
import type { CheckedFiles } from '../../domain/installation/model-files.ts'
import { parseJson } from '../../domain/parse-json.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { invalid, readCode } from '../../models/define/code-digest.ts'
import { checkBytes, explainLoadError } from '../../models/define/load-error.ts'
import { logicOf } from '../../models/define/logic.ts'
import { makePythonModel, type PrintedModel } from '../../models/define/python-model.ts'
import { digestWithPrograms } from '../../models/define/program-files.ts'
import { digestOf } from '../../store/artifacts.ts'
import { printedName, withModelFiles } from '../../store/registry/model-files.ts'
import { checkout, launcher, projectFolder, systemEnvironment } from '../../temporal.config.ts'
import { projectFile } from '../../project.mjs'
import { sources } from '../build/sources.mjs'
import { issueOfColumns } from '../sync/check-columns.ts'

export interface CheckFilesJob {
  model: string
  archive: Uint8Array
}

export interface LoadFileJob {
  path: string
  name: string
  digest: string
}

export type LoadedFile = { definition: ModelDefinition } | { issues: string[] }

const loadLimitMs = 10_000
/** On a busy machine. */
const startLimitMs = 120_000
const memoryMb = 768

async function checkFiles({ model, archive }: CheckFilesJob): Promise<CheckedFiles> {
  return withModelFiles(Buffer.from(archive), async (folder, files) => {
    const file = files.has(`${model}.ts`) ? `${model}.ts` : `${model}.py`
    const path = join(folder, file)
    try {
      if (!files.has(file))
        throw invalid(`there is no ${model}.ts or ${model}.py among them: send the model file itself`)
      const { definition, digest } = await load(path, { name: model, printed: files.get(printedName(model)) })
      const issue =
        (await issueOfPrograms(folder, definition)) ??
        (isOfProject(definition) ? await issueOfColumns(definition, { showsCells: false }) : undefined) ??
        (await issueOfBusiness(definition))
      if (issue !== undefined) throw invalid(issue)
      // What a file in Python prints is compared as its definition.
      const digests = [...files].flatMap(([name, bytes]) =>
        name === printedName(model) ? [] : [[name, digestOf(bytes)] as const],
      )
      return {
        definition,
        codeDigest: await digestWithPrograms(digest, folder, definition),
        files: {
          ...Object.fromEntries(digests),
          [file]: digestOf(await logicOf(path, files.get(file)!.toString())),
        },
        note: await gateOnlyPartsOf(definition),
      }
    } catch (error) {
      if (isError(error, 'invalid_model_file')) throw error
      throw invalid((await explainLoadError(error, path)).join('; '))
    }
  })
}

/** Of a file in Python, the definition comes along as data. */
async function load(
  path: string,
  { name, printed }: { name: string; printed: Buffer | undefined },
): Promise<{ definition: ModelDefinition; digest: string }> {
  await checkBytes(path)
  const { digest, circle, files } = await readCode(path)
  if (circle !== undefined)
    throw invalid(
      `its files import each other in a circle: ${circle.map((each) => relative(dirname(path), each)).join(', ')}`,
    )
  const outside = files.find((each) => !each.startsWith(`${dirname(path)}/`) && !each.startsWith(checkout))
  if (outside !== undefined)
    throw invalid(
      `it imports ${relative(dirname(path), outside)}, which was not sent: move it into the folder of the model files`,
    )
  const loaded =
    extname(path) === '.py' ? await makePrinted(path, printed) : await runModelFile({ path, name, digest })
  if ('issues' in loaded) throw invalid(loaded.issues.join('; '))
  const { definition } = loaded
  if (definition.name !== name) throw invalid(`name: "${definition.name}" must be in a file of this name`)
  return { definition, digest }
}

async function makePrinted(path: string, printed: Buffer | undefined): Promise<LoadedFile> {
  const given = parseJson<PrintedModel>(printed?.toString() ?? '')
  if (given === undefined || !Array.isArray(given.issues))
    throw invalid(`what ${basename(path)} defines is missing: send it with \`tenure models sync\``)
  return { definition: makePythonModel(path, given, await import('../../models/define.ts')).definition }
}

/** Whether the files of the source are data of the project: the first line of another file would be in the answer. */
const isOfProject = ({ source }: ModelDefinition): boolean =>
  source.kind !== 'csv' ||
  Object.values(source.files).every(
    (file) =>
      /\.[ct]sv(\.gz)?$/i.test(file) && !/^\.|\/\./.test(relative(projectFolder, join(projectFolder, file))),
  )

async function issueOfPrograms(
  folder: string,
  { trainer, source }: ModelDefinition,
): Promise<string | undefined> {
  for (const [part, program] of [
    ['train', trainer],
    ['source', source.program],
  ] as const) {
    if (program?.kind !== 'python') continue
    // Another interpreter could be any program of this machine.
    if (program.interpreter !== undefined && !/^python3(\.\d+)?$/.test(program.interpreter)) continue
    if (program.file.split('/').includes('..'))
      return `${part}: ${program.file} leads out of the folder of the model file`
    await compileScript(folder, program, part)
  }
  return undefined
}

/** What the process may read besides the folder of the file: the code of Tenure and its packages, and no state of the installation. */
function readable(): string[] {
  // Node does not tell models/define from models/define.ts.
  const names = new Set(sources.map((path) => path.replace(/\/.*/, '')))
  const own = [...names, 'dist', 'package.json'].map((name) => join(checkout, name))
  const packages: string[] = []
  // Node refuses to say that a file is absent which may not be read.
  const projects: string[] = []
  for (const from of [checkout, projectFolder])
    for (let folder = from; ; folder = dirname(folder)) {
      packages.push(join(folder, 'node_modules'))
      projects.push(join(folder, projectFile))
      if (folder === dirname(folder)) break
    }
  const all = [...own, ...packages, join(projectFolder, 'package.json')]
  return [...all.filter((each) => existsSync(each)), ...projects]
}

/** Runs a model file until it has loaded, or until its time or memory is used up. */
function runModelFile(job: LoadFileJob): Promise<LoadedFile> {
  const { execArgv, ...shell } = withMemoryLimit(memoryMb)
  const allowed = [dirname(job.path), ...readable()].map((each) => `--allow-fs-read=${each}`)
  const child = fork(launcher, ['cli/check/load-files.ts'], {
    ...shell,
    execArgv: [...execArgv, '--permission', '--no-warnings', ...allowed],
    cwd: checkout,
    env: systemEnvironment(),
    // A pipe would lend the process the class of a network socket.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  return new Promise((resolve, reject) => {
    let loaded: LoadedFile | undefined
    let late = false
    const kill = () => {
      late = true
      child.kill('SIGKILL')
    }
    let timer = setTimeout(kill, startLimitMs)
    // The first message comes before the file runs, and may be the only one that gives it more time.
    child.once('message', () => {
      clearTimeout(timer)
      timer = setTimeout(kill, loadLimitMs)
      child.once('message', (message: LoadedFile) => {
        loaded = message
        child.kill('SIGKILL')
      })
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const why = late
        ? `it was not loaded within ${loadLimitMs / 1_000} s: an endless loop, or an \`await\` that never ends, outside of \`train\``
        : `it ended the process that loaded it (${signal ?? `exit code ${code}`}), or used more than ${memoryMb} MB of memory`
      resolve(loaded ?? { issues: [why] })
    })
    child.send(job, (error) => error && kill())
  })
}

process.once('message', (job: CheckFilesJob) => {
  const reply = async (): Promise<object> => {
    try {
      return { checked: await checkFiles(job) }
    } catch (error) {
      const { message } = error as Error
      return { message, issues: isError(error) ? error.context['issues'] : undefined }
    }
  }
  void reply().then((answer) => process.send?.(answer, () => process.exit(0)))
})
process.on('disconnect', () => process.exit(1))
