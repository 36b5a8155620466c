/**
 * Reduces a model file to what needs an approval: its code without the numbers, switches and durations of its evaluation, its release, its
 * monitor and the threshold of its label. Two files with the same rest run the same code, and differ in those values only.
 */
import { execFile } from 'node:child_process'
import { extname } from 'node:path'
import { bareEnvironment } from '@tenure/embedded/install/machine'
import type { Expression, Node, ObjectExpression, Program, Property, SpreadElement } from 'acorn'
import { codeOf } from './code-digest.ts'

/** The parts of a model file whose values count as settings, each with the names that do; undefined for all. */
const settings: Readonly<Record<string, readonly string[] | undefined>> = {
  evaluation: undefined,
  release: undefined,
  monitor: undefined,
  label: ['threshold'],
}
const duration = /^\d+(\.\d+)? ?[a-z]{1,8}$/

/** Returns the code without types, comments, layout and settings. Runs none of it. */
export async function logicOf(path: string, text: string): Promise<string> {
  if (extname(path) === '.py') return logicOfPython(text)
  const code = await codeOf(path, text)
  // Loaded on use: only the check of sent files needs a parser.
  const { parse } = await import('acorn')
  const program = parse(code, { ecmaVersion: 'latest', sourceType: 'module' })
  const file = { code, words: vocabularyOf(program) }
  const model = findModel(program)
  if (model === undefined || !file.words.has('defineModel') || !isPlain(model)) return code
  const properties = model.properties.flatMap((each) => {
    const name = nameOf(each)
    if (name === undefined || !Object.hasOwn(settings, name)) return [code.slice(each.start, each.end)]
    return withoutSettings(each as Property, file, settings[name])
  })
  return `${code.slice(0, model.start)}{${properties.join(',')}}${code.slice(model.end)}`
}

interface ParsedFile {
  code: string
  /** The names that the file imports from `tenure`: a number in a call of another function may select code. */
  words: ReadonlySet<string>
}

const vocabularyOf = ({ body }: Program): ReadonlySet<string> =>
  new Set(
    body.flatMap((each) =>
      each.type === 'ImportDeclaration' && each.source.value === 'tenure'
        ? each.specifiers.map(({ local }) => local.name)
        : [],
    ),
  )

/** The object of the only call of `defineModel`; undefined for a file that is written otherwise. */
function findModel(root: Node): ObjectExpression | undefined {
  const found: ObjectExpression[] = []
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit)
    if (typeof value !== 'object' || value === null) return
    const node = value as Expression
    if (node.type === 'CallExpression' && node.callee.type === 'Identifier') {
      const [file, ...more] = node.arguments
      if (node.callee.name === 'defineModel' && file?.type === 'ObjectExpression' && more.length === 0)
        found.push(file)
    }
    Object.values(value).forEach(visit)
  }
  visit(root)
  return found.length === 1 ? found[0] : undefined
}

/** The name of a plain property; undefined for what runs code, or sets the prototype. */
const nameOf = (property: Property | SpreadElement): string | undefined =>
  property.type === 'Property' && !property.method ? keyOf(property) : undefined

function keyOf(property: Property | SpreadElement): string | undefined {
  if (property.type !== 'Property' || property.computed || property.kind !== 'init') return undefined
  const { key } = property
  const name = key.type === 'Identifier' ? key.name : key.type === 'Literal' ? String(key.value) : undefined
  return name === '__proto__' ? undefined : name
}

/** Whether each property of an object has a name of its own, and no spread is among them: a setting could take the place of code otherwise. */
function isPlain({ properties }: ObjectExpression): boolean {
  const names = new Set(properties.map(keyOf))
  return names.size === properties.length && !names.has(undefined)
}

/** Leaves out a property that holds settings only. */
function withoutSettings(property: Property, file: ParsedFile, names?: readonly string[]): string[] {
  const name = nameOf(property)!
  const value = property.value as Expression
  const counts = names === undefined || names.includes(name)
  if (counts && isSetting(value)) return []
  return [`${JSON.stringify(name)}:${restOf(value, file, names)}`]
}

/** The text of a value without its settings. Functions, and whatever else is no plain data, stay as they are. */
function restOf(value: Expression, file: ParsedFile, names?: readonly string[]): string {
  if (names === undefined && isSetting(value)) return '0'
  const textOf = (each: Node): string => file.code.slice(each.start, each.end)
  const part = (each: Expression | SpreadElement | null): string =>
    each === null ? '' : each.type === 'SpreadElement' ? textOf(each) : restOf(each, file, names)
  // Its brackets are no part of an expression, and tell f((a, b)) from f(a, b).
  const whole = `(${textOf(value)})`
  switch (value.type) {
    case 'ObjectExpression':
      if (!isPlain(value)) return whole
      return `{${value.properties
        .flatMap((each) =>
          nameOf(each) === undefined ? [textOf(each)] : withoutSettings(each as Property, file, names),
        )
        .join(',')}}`
    case 'ArrayExpression':
      return `[${value.elements.map(part).join(',')}]`
    case 'CallExpression':
      return value.callee.type === 'Identifier' && file.words.has(value.callee.name)
        ? `${value.callee.name}(${value.arguments.map(part).join(',')})`
        : whole
    default:
      return whole
  }
}

/** Whether a value is a number, a switch or a duration, or plain data of nothing else. */
function isSetting(value: Expression): boolean {
  switch (value.type) {
    case 'Literal':
      return typeof value.value === 'string'
        ? duration.test(value.value)
        : ['number', 'boolean'].includes(typeof value.value)
    case 'UnaryExpression':
      // The compiler writes true as !0.
      return (
        ['-', '!'].includes(value.operator) && value.argument.type === 'Literal' && isSetting(value.argument)
      )
    case 'ObjectExpression':
      return (
        isPlain(value) &&
        value.properties.every(
          (each) => nameOf(each) !== undefined && isSetting((each as Property).value as Expression),
        )
      )
    case 'ArrayExpression':
      return value.elements.every((each) => each !== null && each.type !== 'SpreadElement' && isSetting(each))
    default:
      return false
  }
}

/** The same rules for a file in Python, by its own parser. */
const program = String.raw`
import ast, re, sys

settings = {"evaluation": None, "release": None, "monitor": None, "label": ["threshold"]}

def is_setting(value):
    if isinstance(value, ast.Constant):
        if isinstance(value.value, str):
            return re.fullmatch(r"\d+(\.\d+)? ?[a-z]{1,8}", value.value) is not None
        return isinstance(value.value, (bool, int, float))
    if isinstance(value, ast.UnaryOp):
        return isinstance(value.op, ast.USub) and isinstance(value.operand, ast.Constant) and is_setting(value.operand)
    if isinstance(value, (ast.List, ast.Tuple)):
        return all(is_setting(each) for each in value.elts)
    if isinstance(value, ast.Dict):
        return all(name_of(key) is not None for key in value.keys) and all(is_setting(each) for each in value.values)
    return False

def name_of(key):
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None

def is_left_out(name, value, names):
    return name is not None and (names is None or name in names) and is_setting(value)

def strip(value, names):
    if names is None and is_setting(value):
        return ast.Constant(0)
    if isinstance(value, ast.Dict):
        pairs = [pair for pair in zip(value.keys, value.values) if not is_left_out(name_of(pair[0]), pair[1], names)]
        value.keys = [key for key, _ in pairs]
        value.values = [strip(each, names) for _, each in pairs]
    elif isinstance(value, (ast.List, ast.Tuple)):
        value.elts = [strip(each, names) for each in value.elts]
    elif isinstance(value, ast.Call):
        value.args = [strip(each, names) for each in value.args]
        strip_keywords(value, lambda name: (True, names))
    return value

def strip_keywords(call, namesof):
    kept = []
    for keyword in call.keywords:
        counts, names = namesof(keyword.arg)
        if counts and is_left_out(keyword.arg, keyword.value, names):
            continue
        if counts:
            keyword.value = strip(keyword.value, names)
        kept.append(keyword)
    call.keywords = kept

tree = ast.parse(sys.stdin.buffer.read())
models = [
    node
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    and ast.dump(node.func) in (ast.dump(ast.parse(name, mode="eval").body) for name in ("define_model", "tenure.define_model"))
]
if len(models) == 1:
    # A label is no setting as a whole, whatever its value.
    strip_keywords(models[0], lambda name: (name in settings, settings.get(name)))
print(ast.dump(tree))
`
const parseMs = 20_000
const maxDumpBytes = 67_108_864

/** Returns the text itself where it does not parse. */
function logicOfPython(text: string): Promise<string> {
  return new Promise((resolve) => {
    const options = { env: bareEnvironment(), timeout: parseMs, maxBuffer: maxDumpBytes }
    const child = execFile('python3', ['-I', '-c', program], options, (error, stdout) =>
      resolve(error === null ? stdout : text),
    )
    child.stdin?.on('error', () => {}).end(text)
  })
}
