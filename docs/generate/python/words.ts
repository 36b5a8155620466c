/** Writes the vocabulary of model files as a module of Python: functions with their keywords, types, and the table by which they are checked. */
import { readVocabulary, type Field, type Shape, type Word } from './vocabulary.ts'

/** The one rule between the names of both languages: `eventTime` is `event_time`. */
export const snakeOf = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const keywords = new Set(
  'and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield None True False'.split(
    ' ',
  ),
)
/** A keyword of Python gets an underscore behind it: `from_`. */
export const argumentOf = (name: string): string => {
  const snake = snakeOf(name)
  return keywords.has(snake) ? `${snake}_` : snake
}

/** Objects by their names in Python. */
type Types = Map<string, readonly Field[]>

export function pythonWords(): string {
  const words = readVocabulary()
  const types: Types = new Map()
  const table = words.map((word) => `    ${JSON.stringify(snakeOf(word.name))}: ${entryOf(word, types)},`)
  const functions = words.map((word) => functionText(word, types))
  const dictionaries = [...types].map(([name, all]) => [name, typedDict(name, all, types)] as const)
  const used = [
    ...functions,
    ...dictionaries.map(([name, text]) => text.replace(`${name} = TypedDict("${name}"`, '')),
  ].join(' ')
  const refers = new Set(
    dictionaries.flatMap(([name]) => (new RegExp(`\\b${name}\\b`).test(used) ? [name] : [])),
  )
  const made = [...new Set(words.map(({ result }) => result))].filter((name) => name !== 'Model').sort()
  const fields = [...types].map(
    ([name, all]) =>
      `    ${JSON.stringify(name)}: {${all
        .map(
          (each) =>
            `${JSON.stringify(snakeOf(each.name))}: [${JSON.stringify(each.name)}, ${pythonShape(each.shape, types, name + pascal(each.name))}]`,
        )
        .join(', ')}},`,
  )
  return `# Written by \`npm run docs\` from the TypeScript declarations of model files; \`npm run check\` fails when the two differ.
"""The words of a model file, as :mod:\`tenure\` exports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Literal, Mapping, Optional, Pattern, Sequence, Union

from ._define import Made, defines, word

if TYPE_CHECKING:
    from typing_extensions import NotRequired, TypedDict

    from ._job import Job

${made.map((name) => `    class ${name}(Made): ...`).join('\n')}

${dictionaries
  .filter(([name]) => refers.has(name))
  .map(([, text]) => text)
  .join('\n')}

#: The arguments and options of each word: [name in the definition, shape] by name in Python.
WORDS: dict[str, Any] = {
${table.join('\n')}
}

#: The fields of each object: [name in the definition, shape] by name in Python.
TYPES: dict[str, Any] = {
${fields.join('\n')}
}


${functions.join('\n\n\n')}


__all__ = [
${words
  .map(({ name }) => `    ${JSON.stringify(snakeOf(name))},`)
  .sort()
  .join('\n')}
]
`
}

const pascal = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1)

function entryOf({ name, positional, options, leading }: Word, types: Types): string {
  const at = pascal(name)
  const parts = [
    `"name": ${JSON.stringify(name)}`,
    `"positional": {${positional.map((each) => `${JSON.stringify(argumentOf(each.name))}: ${pythonShape(each.shape, types, at + pascal(each.name))}`).join(', ')}}`,
    `"required": ${positional.filter((each) => !each.optional).length}`,
    `"leading": ${JSON.stringify(leading)}`,
    ...(options === undefined
      ? []
      : [
          `"options": ${pythonShape({ kind: 'object', name: optionsName(name), fields: options }, types, at)}`,
        ]),
  ]
  return `{${parts.join(', ')}}`
}

const optionsName = (word: string): string =>
  word === 'defineModel' ? 'ModelFile' : `${pascal(word)}Options`

const contentOf = (fields: readonly Field[]): string =>
  JSON.stringify(fields, (key, value: unknown) => (key === 'meaning' ? undefined : value))

/** Names an object. Objects with the same fields share a name. */
function named({ name, fields }: Extract<Shape, { kind: 'object' }>, types: Types, place: string): string {
  const content = contentOf(fields)
  for (const [known, present] of types) if (contentOf(present) === content) return known
  const free = [name, place].find((each) => each !== undefined && !types.has(each))
  if (free === undefined) throw new Error(`there are two objects ${place}`)
  types.set(free, fields)
  return free
}

/** What the checks of Python need to know of a shape. */
function pythonShape(shape: Shape, types: Types, place: string): string {
  switch (shape.kind) {
    case 'pattern':
    case 'function':
      return JSON.stringify(shape.kind)
    case 'list': {
      const items = pythonShape(shape.items, types, place)
      return items === '""' ? items : `{"list": ${items}}`
    }
    case 'record': {
      const values = pythonShape(shape.values, types, place)
      return values === '""' ? values : `{"record": ${values}}`
    }
    case 'object': {
      const name = named(shape, types, place)
      for (const each of shape.fields) pythonShape(each.shape, types, name + pascal(each.name))
      return `{"fields": ${JSON.stringify(name)}}`
    }
    case 'union': {
      const parts = [...new Set(shape.of.map((each) => pythonShape(each, types, place)))].filter(
        (each) => each !== '""',
      )
      return parts.length <= 1 ? (parts[0] ?? '""') : `{"either": [${parts.join(', ')}]}`
    }
    case 'data':
    case 'text':
    case 'number':
    case 'flag':
    case 'literal':
    case 'made':
      return '""'
  }
}

function typeText(shape: Shape, types: Types, place: string): string {
  switch (shape.kind) {
    case 'data':
      return 'Any'
    case 'text':
      return 'str'
    case 'number':
      return 'float'
    case 'flag':
      return 'bool'
    case 'literal':
      return `Literal[${JSON.stringify(shape.value)}]`
    case 'pattern':
      return 'Union[str, Pattern[str]]'
    case 'function':
      return 'Callable[..., Any]'
    case 'list':
      return `Sequence[${typeText(shape.items, types, place)}]`
    case 'record':
      return `Mapping[str, ${typeText(shape.values, types, place)}]`
    case 'made':
      return shape.name
    case 'object':
      return named(shape, types, place)
    case 'union': {
      const literals = shape.of.flatMap((each) =>
        each.kind === 'literal' ? [JSON.stringify(each.value)] : [],
      )
      const parts = [
        ...new Set([
          ...(literals.length === 0 ? [] : [`Literal[${literals.join(', ')}]`]),
          ...shape.of.flatMap((each) => (each.kind === 'literal' ? [] : [typeText(each, types, place)])),
        ]),
      ]
      return parts.includes('Any') ? 'Any' : parts.length === 1 ? parts[0]! : `Union[${parts.join(', ')}]`
    }
  }
}

function typedDict(name: string, fields: readonly Field[], types: Types): string {
  const members = fields.map((each) => {
    const type = typeText(each.shape, types, name + pascal(each.name))
    // In quotes, because an object may stand before those of its fields.
    return `${JSON.stringify(snakeOf(each.name))}: '${each.optional ? `NotRequired[${type}]` : type}'`
  })
  return `    ${name} = TypedDict("${name}", {${members.join(', ')}})`
}

function functionText({ name, meaning, positional, options, leading, result }: Word, types: Types): string {
  const at = pascal(name)
  const isModel = name === 'defineModel'
  const typeOf = (each: Field, place: string): string => {
    const type = typeText(each.shape, types, place + pascal(each.name))
    // The function of this very file.
    if (name === 'python' && each.name === 'file') return `Union[${type}, Callable[[Job], Any]]`
    return isModel && each.name === 'prepare' ? `Union[${type}, Callable[[Any], Any]]` : type
  }
  const parameter = (each: Field, place: string) =>
    `${argumentOf(each.name)}: ${each.optional ? `Optional[${typeOf(each, place)}] = None` : typeOf(each, place)}`
  const keyword = (options ?? []).filter((each) => !leading.includes(each.name))
  const place = optionsName(name)
  const first = [
    ...positional.map((each) => parameter(each, at)),
    ...(options ?? []).filter((each) => leading.includes(each.name)).map((each) => parameter(each, place)),
  ]
  const all = [
    ...first,
    ...(keyword.length === 0 ? [] : ['*', ...keyword.map((each) => parameter(each, place))]),
  ]
  const described = [...positional, ...(options ?? [])].filter((each) => each.meaning !== '')
  const documentation = [
    pythonText(meaning),
    ...(described.length === 0
      ? []
      : ['', ...described.map((each) => `    ${argumentOf(each.name)}: ${pythonText(each.meaning)}`)]),
  ]
  return `@${isModel ? 'defines' : 'word'}
def ${snakeOf(name)}(
${all.map((each) => (each === '*' ? '    *,' : `    ${each},`)).join('\n')}
) -> ${isModel ? 'None' : result}:
    r"""${documentation.join('\n')}${documentation.length === 1 ? '' : '\n    '}"""
    raise AssertionError`
}

/** Rewrites the code in a comment as Python: names of fields, and options as keywords. */
const pythonText = (text: string): string =>
  text
    .replaceAll('"""', "'''")
    .replace(/\[([^\]]+)\]\([^)]*\)/g, '$1')
    .replace(/`([^`]+)`/g, (_, code: string) => `\`\`${pythonCode(code)}\`\``)

const pythonCode = (code: string): string =>
  code
    .replace(
      /\(([^(){}]*)\{ ([^{}]*) \}\)/g,
      (_, before: string, options: string) =>
        `(${before}${options.replace(/(^|, )(\w+): /g, (_all, comma: string, name: string) => `${comma}${argumentOf(name)}=`)})`,
    )
    .replace(/\b[a-z]+[A-Z]\w*\b/g, snakeOf)
    .replace(/\btrue\b/g, 'True')
    .replace(/\bfalse\b/g, 'False')
