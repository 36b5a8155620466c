/** Lists the artifact formats and their files: the one list for manifests, uploads, training programs and readers. */
import { refuse } from './errors.ts'

/**
 * How files are made smaller: without what no answer needs, numbers of 16 or 8 bits, the first trees alone, or fewer units of each hidden
 * layer.
 */
export const fileCompressions = ['lossless', 'float16', 'int8', 'fewer-trees', 'prune'] as const
export type FileCompression = (typeof fileCompressions)[number]

export interface CompressionRequest {
  to: FileCompression
  /** For `fewer-trees`: how many of the first trees stay. Default: the fewest within `meanDifference`. */
  trees?: number
  /** The mean difference of a number of an answer that the fewest trees or units may make. */
  meanDifference: number
  /** What quantizes ONNX files. */
  quantizer?: Quantizer
}

export interface Quantizer {
  /** It is started with a group and an empty environment of its own. Its fourth channel is a pipe, which closes when its parent ends. */
  command: readonly string[]
  /** An empty folder for its files, which the caller removes. */
  folder: string
}

interface FormatFiles {
  /** The sets of files that an artifact may have; it has exactly one of them. A file that is a whole set can be brought. */
  fileSets: readonly (readonly string[])[]
  /** What writes a file that can be brought, with its name, for people. */
  libraries?: readonly string[]
  /** Whether reading the files runs their code, so that no file that is brought is one of them. */
  isCode?: true
  /** Whether the files only name a server of others, which answers. */
  isRemote?: true
  /** How the files of a set can be made smaller, by the first file of the set. */
  compressions?: Readonly<Record<string, readonly FileCompression[]>>
  /** Those of them that need a `Quantizer`. */
  quantized?: readonly FileCompression[]
  /** The function of `edge.ts` that opens an artifact without Node; absent where none can. */
  edge?: 'openLayersFiles' | 'openTreesFile' | 'openOnnxFile'
}

/** The first line of a model that is code of Python, in the file of `python-object`. */
export const pythonMark = 'TENURE-PYTHON 1\n'

const ofTrees: readonly FileCompression[] = ['lossless', 'float16', 'int8', 'fewer-trees']

/** The reader of each format has a folder in `formats/`. */
export const artifactFormats = {
  'tfjs-layers': {
    fileSets: [['model.json', 'weights.bin']],
    edge: 'openLayersFiles',
    compressions: { 'model.json': ['float16', 'int8', 'prune'] },
  },
  trees: {
    fileSets: [['model.txt'], ['model.json'], ['model.ubj']],
    libraries: ['LightGBM (model.txt)', 'XGBoost (.json, .ubj)', 'CatBoost (.json)'],
    edge: 'openTreesFile',
    compressions: {
      'model.txt': ofTrees,
      'model.json': ofTrees,
      'model.ubj': ofTrees,
    },
  },
  onnx: {
    fileSets: [['model.onnx']],
    libraries: ['ONNX (.onnx)'],
    edge: 'openOnnxFile',
    compressions: { 'model.onnx': ['float16', 'int8'] },
    quantized: ['int8'],
  },
  'python-object': { fileSets: [['model.python']], isCode: true },
  endpoint: {
    fileSets: [['endpoint.json']],
    libraries: ['an endpoint elsewhere (endpoint.json)'],
    isRemote: true,
  },
} as const satisfies Record<string, FormatFiles>

export type ArtifactFormatName = keyof typeof artifactFormats

const all: [name: string, FormatFiles][] = Object.entries(artifactFormats)
const setsOf = (name: ArtifactFormatName): FormatFiles['fileSets'] => artifactFormats[name].fileSets

/** The format of an artifact; that of a manifest which names none. */
export const formatNameOf = ({ artifact }: { artifact?: ArtifactFormatName }): ArtifactFormatName =>
  artifact ?? 'tfjs-layers'

const singleFiles = (formats: typeof all): string[] =>
  formats.flatMap(([, { fileSets }]) => fileSets.flatMap((set) => (set.length === 1 ? set : [])))

/** The names that the file of a trained model may have. */
export const trainedFileNames: readonly string[] = singleFiles(all)

/** The names that the file of a brought model may have. */
export const broughtFileNames: readonly string[] = singleFiles(
  all.filter(([, { isCode }]) => isCode !== true),
)

/** Whether artifacts of a format run code of their own. */
export const isCode = ({ artifact }: { artifact?: ArtifactFormatName }): boolean =>
  (artifactFormats[formatNameOf({ artifact })] as FormatFiles).isCode === true

/** Whether another system answers the rows of an artifact. Its answers may change, and cost money. */
export const isRemote = ({ artifact }: { artifact?: ArtifactFormatName }): boolean =>
  (artifactFormats[formatNameOf({ artifact })] as FormatFiles).isRemote === true

/** The function of `@tenure/predictors/edge` that opens artifacts of a format; undefined where none can. */
export const edgeFunctionOf = ({ artifact }: { artifact?: ArtifactFormatName }): FormatFiles['edge'] =>
  (artifactFormats[formatNameOf({ artifact })] as FormatFiles).edge

/** How the files of an artifact can be made smaller; empty where they cannot. */
export function compressionsOf({
  artifact,
  files,
}: {
  artifact?: ArtifactFormatName
  files: Readonly<Record<string, unknown>>
}): readonly FileCompression[] {
  const { compressions = {} } = artifactFormats[formatNameOf({ artifact })] as FormatFiles
  return Object.entries(compressions).find(([name]) => Object.hasOwn(files, name))?.[1] ?? []
}

/** Whether a `CompressionRequest` for an artifact with this first file needs a `quantizer`. */
export const needsQuantizer = (file: string, to: string): boolean =>
  all.some(
    ([, { compressions = {}, quantized = [] }]) =>
      Object.hasOwn(compressions, file) && quantized.some((each) => each === to),
  )

const libraries = all.flatMap(([, each]) => each.libraries ?? [])
/** `LightGBM (model.txt), … or ONNX (.onnx)`. */
export const broughtLibraries = `${libraries.slice(0, -1).join(', ')} or ${libraries.at(-1)}`

const isSet = (set: readonly string[], names: readonly string[]): boolean =>
  set.length === names.length && set.every((each) => names.includes(each))

/** Returns the format of an artifact with these files. Throws `artifact_invalid` when there is none. */
export function formatOfFiles(names: readonly string[]): ArtifactFormatName {
  const found = all.find(([, { fileSets }]) => fileSets.some((set) => isSet(set, names)))
  if (found === undefined) refuse(`no format has the files ${listed(names)}`)
  return found[0] as ArtifactFormatName
}

/** Throws `artifact_invalid` unless these are exactly the files of an artifact of the format. */
export function expectFileSet(names: readonly string[], format: ArtifactFormatName): void {
  const sets = setsOf(format)
  if (!sets.some((set) => isSet(set, names)))
    refuse(
      `the artifact has the files ${listed(names)}, one of ${format} has ${sets.map((set) => set.join(' and ')).join(', or ')}`,
    )
}

const listed = (names: readonly string[]): string => names.join(', ') || 'none'
