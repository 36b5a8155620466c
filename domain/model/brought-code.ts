/**
 * Reads what a brought folder of Python code says about itself, as data: which kind of model it holds, its packages and its Python. Its code runs
 * in the process of its version alone.
 */
import { outputNames, outputWidth, type DeclaredColumn } from '@tenure/predictors/features'
import { pythonMark } from '@tenure/predictors/format-names'
import { DomainError, quotedName } from '../errors.ts'
import { listedFeatures, type ModelDefinition } from '../model-definition.ts'
import { isOfNumbers, positiveOf } from '../tasks/output.ts'
import { modelFeatures } from './features.ts'

/** Limits of the folder. The file of a model in Python holds it with a description. */
export const codeLimits = { maxFiles: 1_000, maxBytes: 66_000_000, maxDepth: 16 }

export interface BroughtCode {
  /** What answers, for people: `serve.py`, `MLflow folder (mlflow.sklearn)` or the name of a pickle. */
  library: string
  /** The lines of its requirements file, without comments. */
  requirements: string[]
  /** The interpreter that the folder asks for, such as `python3.11`. */
  interpreter?: string
}

const requirementsName = 'requirements.txt'
/** As people name pickles, also those that joblib has compressed. */
const pickles = /^[^/]+\.(?:pkl|pickle|joblib|sav|p)(?:\.(?:gz|z|bz2|xz))?$/i
/** Whether a file at the top of a folder tells that it holds a model. */
export const isOfCode = (name: string): boolean =>
  name === 'serve.py' || name === 'MLmodel' || pickles.test(name)
/**
 * A package with its versions. With paths, addresses, options or variables, an installer would read files and the environment of the worker,
 * or install from another place.
 */
const requirement =
  /^[a-z0-9][\w.-]*(?:\[[\w.,\s-]*\])?\s*(?:[<>=!~]=?=?\s*[\w.*+-]+\s*,?\s*)*(?:;[^@/\\$]*)?$/i

/** Throws `artifact_invalid` for a folder that holds no model, or whose packages are not listed. */
export function readBroughtCode(files: ReadonlyMap<string, Uint8Array>): BroughtCode {
  const library = libraryOf(files)
  const text = textOf(files, requirementsName)
  if (text === undefined)
    refuse(`it has no ${requirementsName}: name its packages with --requirements requirements.txt`)
  const lines = text
    .split('\n')
    .map((line) => line.replace(/(?:^|\s)#.*/, '').trim())
    .filter((line) => line !== '')
  const other = lines.find((line) => !requirement.test(line))
  if (other !== undefined)
    refuse(
      `${requirementsName} has the line ${quotedName(other)}: list packages of the index with their versions, such as scikit-learn==1.9.1`,
    )
  const version = /^python:\s*["']?(3\.\d{1,2})\b/m.exec(textOf(files, 'python_env.yaml') ?? '')?.[1]
  return {
    library,
    requirements: lines,
    ...(version === undefined ? {} : { interpreter: `python${version}` }),
  }
}

const textOf = (files: ReadonlyMap<string, Uint8Array>, name: string): string | undefined => {
  const bytes = files.get(name)
  return bytes && new TextDecoder().decode(bytes)
}

function libraryOf(files: ReadonlyMap<string, Uint8Array>): string {
  if (files.has('serve.py')) return 'serve.py'
  const model = textOf(files, 'MLmodel')
  if (model !== undefined)
    return `MLflow folder (${/^\s+loader_module:\s*["']?([\w.]{1,100})/m.exec(model)?.[1] ?? 'pyfunc'})`
  const found = [...files.keys()].filter((name) => pickles.test(name))
  if (found.length !== 1) {
    const listed = (names: readonly string[]) => names.slice(0, 10).map(quotedName).join(', ')
    const others = [...files.keys()].filter((name) => name !== requirementsName)
    refuse(
      found.length === 0
        ? `it has neither serve.py nor MLmodel, and ${listed(others) || 'nothing'} is no pickle by its name (.pkl, .pickle, .joblib, .sav, .p): register a folder with it and a serve.py that loads it`
        : `it has several pickles, ${listed(found)}: register the one that answers, or add a serve.py that loads them`,
    )
  }
  return found[0]!
}

/**
 * The file of the model in Python: a description with the resolved packages, and the tar. Its columns are those of `columns.json`, or the
 * features in the order of the model file. Throws `artifact_invalid` for a column that is no feature, and for packages without NumPy.
 */
export function pythonFileOf(
  tar: Uint8Array,
  { library }: BroughtCode,
  definition: Pick<ModelDefinition, 'features' | 'featureOrder' | 'label'>,
  { packages: all, declared }: { packages: Readonly<Record<string, string>>; declared?: DeclaredColumn[] },
): Buffer {
  const { python, ...packages } = all
  if (packages['numpy'] === undefined) refuse(`add numpy to ${requirementsName}`)
  const { output } = definition.label
  const head = {
    python,
    packages,
    library,
    columns: columnsOfCode(definition, declared),
    // Whether a person has given their order.
    isOrdered: declared !== undefined,
    frames: packages['pandas'] !== undefined,
    outputs: outputWidth(output),
    isFolder: true,
    task: {
      numbers: isOfNumbers(output),
      names: outputNames(output).map(String),
      positive: positiveOf(output),
    },
  }
  return Buffer.concat([Buffer.from(`${pythonMark}${JSON.stringify(head)}\n`), tar])
}

/** Throws `artifact_invalid` for a column that is no feature. */
export function columnsOfCode(
  definition: Pick<ModelDefinition, 'features' | 'featureOrder'>,
  declared?: readonly DeclaredColumn[],
) {
  const features = modelFeatures(listedFeatures(definition))
  const columns: readonly DeclaredColumn[] = declared ?? Object.keys(features).map((name) => ({ name }))
  return columns.map(({ name, vocabulary, dtype }) => {
    const feature = Object.hasOwn(features, name) ? features[name]! : undefined
    if (feature === undefined) refuse(`columns.json has ${quotedName(name)}, which is no feature`)
    return feature.kind === 'number'
      ? { name, isText: false, dtype }
      : { name, isText: true, kind: feature.kind, categories: vocabulary ?? null, dtype }
  })
}

function refuse(why: string): never {
  throw new DomainError('artifact_invalid', `the folder cannot be used: ${why}`)
}
