/**
 * Checks the files of a model that were sent with a key, as `tenure check` does. Runs none of them: what they define comes along as data, and
 * an approver decides whether they run. Its process bounds what patterns, tables and the parser of a file may take.
 */
import { basename, dirname, join, relative } from 'node:path'
import { compileScript } from '../../activities/check/compile-script.ts'
import { gateOnlyPartsOf, issueOfBusiness } from '../../activities/data/check-sql.ts'
import { issueOfPrepare } from '../../activities/data/prepared-rows.ts'
import { isError } from '../../domain/errors.ts'
import type { CheckedFiles } from '../../domain/installation/model-files.ts'
import { parseJson } from '../../domain/parse-json.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { codeOf, invalid, readCode } from '../../models/define/code-digest.ts'
import { checkBytes, explainLoadError } from '../../models/define/load-error.ts'
import { makeModel, type PrintedModel } from '../../models/define/printed-model.ts'
import { digestWithPrograms } from '../../models/define/program-files.ts'
import { digestOf } from '../../store/artifacts.ts'
import { printedEntry, withModelFiles } from '../../store/registry/model-files.ts'
import { checkout, projectFolder } from '../../temporal.config.ts'
import { issueOfColumns } from '../sync/check-columns.ts'

export interface CheckFilesJob {
  model: string
  archive: Uint8Array
}

async function checkFiles({ model, archive }: CheckFilesJob): Promise<CheckedFiles> {
  return withModelFiles(Buffer.from(archive), async (folder, files) => {
    const file = files.has(`${model}.ts`) ? `${model}.ts` : `${model}.py`
    const path = join(folder, file)
    try {
      if (!files.has(file))
        throw invalid(`there is no ${model}.ts or ${model}.py among them: send the model file itself`)
      const printed = files.get(printedEntry)
      const { definition, digest, code } = await load(path, { name: model, printed })
      const issue =
        (await issueOfPrograms(folder, definition)) ??
        (await issueOfPrepare(definition.features)) ??
        (isOfProject(definition) ? await issueOfColumns(definition, { showsCells: false }) : undefined) ??
        (await issueOfBusiness(definition))
      if (issue !== undefined) throw invalid(issue)
      // What the files define is compared as the definition.
      const compared = [...files].filter(([name]) => name !== printedEntry)
      const digests = compared.map(async ([name, bytes]) => {
        const isCode = code.includes(join(folder, name))
        return [name, digestOf(isCode ? await codeOf(name, bytes.toString()) : bytes)] as const
      })
      return {
        definition,
        codeDigest: await digestWithPrograms(digest, folder, definition),
        files: Object.fromEntries(await Promise.all(digests)),
        note: await gateOnlyPartsOf(definition),
      }
    } catch (error) {
      if (isError(error, 'invalid_model_file')) throw error
      throw invalid((await explainLoadError(error, path)).join('; '))
    }
  })
}

async function load(
  path: string,
  { name, printed }: { name: string; printed: Buffer | undefined },
): Promise<{ definition: ModelDefinition; digest: string; code: string[] }> {
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
  const given = parseJson<PrintedModel>(printed?.toString() ?? '')
  if (given === undefined || !Array.isArray(given.issues))
    throw invalid(`what ${basename(path)} defines is missing: send it with \`tenure models sync\``)
  const { definition } = makeModel(path, given, await import('../../models/define.ts'))
  if (definition.name !== name) throw invalid(`name: "${definition.name}" must be in a file of this name`)
  return { definition, digest, code: files }
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
  { trainer, serve, source }: ModelDefinition,
): Promise<string | undefined> {
  for (const [part, program] of [
    ['train', trainer],
    ['serve', trainer?.kind === 'python' && serve !== undefined ? { ...trainer, file: serve } : undefined],
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
