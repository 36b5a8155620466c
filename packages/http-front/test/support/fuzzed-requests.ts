/** Generates the bytes of HTTP connections: usual requests with the tricks that make two HTTP parsers disagree, cut at random. */

type Random = () => number

interface Draft {
  method: string
  target: string
  version: string
  lines: string[]
  end: string
  body: string
}

const pick = <T>(random: Random, of: readonly T[]): T => of[Math.floor(random() * of.length)]!
const whole = (random: Random, below: number): number => Math.floor(random() * below)

const smuggled = 'POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'
const chunked = (draft: Draft, body: string): void => {
  draft.lines = [
    ...draft.lines.filter((line) => !/^content-length/i.test(line)),
    'Transfer-Encoding: chunked',
  ]
  draft.body = body
}
const insert = (draft: Draft, random: Random, line: string): void =>
  void draft.lines.splice(whole(random, draft.lines.length + 1), 0, line)
const changeLength = (draft: Draft, change: (value: string) => string): void => {
  draft.lines = draft.lines.map((line) =>
    line.replace(/^(content-length:)(.*)$/i, (_, name: string, value: string) => name + change(value)),
  )
}

type Trick = (draft: Draft, random: Random) => void

const lineTricks: readonly Trick[] = [
  (draft, random) =>
    (draft.method = pick(random, [
      'GET',
      'PUT',
      'post',
      'POSTX',
      'HEAD',
      'DELETE',
      'PRI',
      'CONNECT',
      'M-SEARCH',
      '',
    ])),
  (draft, random) =>
    (draft.version = pick(random, [
      'HTTP/1.0',
      'HTTP/1.2',
      'HTTP/0.9',
      'HTTP/2.0',
      'http/1.1',
      'HTTP/1.1 ',
      'HTTP/11',
      'ICE/1.0',
      '',
    ])),
  (draft, random) =>
    (draft.target = pick(random, [
      '*',
      'x',
      'http://x/a',
      'https://x:1/a',
      '//x/a',
      '/a?b=/c',
      '/%00',
      '/a#b',
      '',
      '/other',
      '/\\a',
    ])),
  (draft, random) =>
    (draft.target = `/a${pick(random, ['\x00', '\t', '\x7f', '\xa0', '\xff', ' ', '\x0b', '%'])}b`),
  (draft, random) => (draft.target = `/${'a'.repeat(pick(random, [200, 9_000]))}`),
  (draft, random) => (draft.target = ` ${draft.target}${pick(random, ['', ' '])}`),
  (draft, random) =>
    (draft.method = `${pick(random, ['\r\n', '\n', '\r\n\r\n', ' ', '\x00'])}${draft.method}`),
]

const lengthTricks: readonly Trick[] = [
  (draft, random) =>
    changeLength(
      draft,
      (value) => value + pick(random, ['\t', ' ', '  ', ' \t', '\xa0', '\x0b', '\x0c', '\x00', '\r']),
    ),
  (draft, random) =>
    changeLength(draft, (value) => pick(random, ['\t', '  ', '\xa0', '\x0b', '']) + value.trim()),
  (draft, random) =>
    changeLength(draft, (value) => ` ${pick(random, ['+', '-', '0', '00000000', '0x', '.'])}${value.trim()}`),
  (draft, random) =>
    changeLength(
      draft,
      (value) =>
        ` ${value.trim()}${pick(random, ['.0', ',0', ', ', ';', 'e0', ' 1', '_', `, ${value.trim()}`])}`,
    ),
  (draft, random) =>
    changeLength(
      draft,
      () =>
        ` ${pick(random, ['', '9'.repeat(9), '9'.repeat(10), '18446744073709551616', '4294967296', '-1', 'abc'])}`,
    ),
  (draft, random) =>
    changeLength(draft, (value) => ` ${Math.max(0, Number(value) + pick(random, [-1, 1, 5, -5]))}`),
  (draft, random) => insert(draft, random, `Content-Length: ${pick(random, [draft.body.length, 0, 1])}`),
  (draft) => (draft.lines = draft.lines.filter((line) => !/^content-length/i.test(line))),
  (draft, random) => insert(draft, random, `content_length: ${whole(random, 9)}`),
]

const codingTricks: readonly Trick[] = [
  (draft) => chunked(draft, '3\r\nabc\r\n0\r\n\r\n'),
  (draft, random) =>
    chunked(
      draft,
      `3${pick(random, [';x', ';x=y', ' ', '\t', ' ;x', ';"a\r\nb"', `;${'x'.repeat(200)}`])}\r\nabc\r\n0\r\n\r\n`,
    ),
  (draft, random) =>
    chunked(
      draft,
      `${pick(random, ['0x3', '+3', '-3', '03', '0000000000000003', '3 3', '', 'g', 'ffffffffffffffff', '10000000000000003'])}\r\nabc\r\n0\r\n\r\n`,
    ),
  (draft, random) =>
    chunked(draft, `3${pick(random, ['\n', '\r', '\r\r\n'])}abc${pick(random, ['\r\n', '\n', ''])}0\r\n\r\n`),
  (draft, random) =>
    chunked(
      draft,
      `3\r\nabc\r\n0\r\n${pick(random, ['X-Trailer: a', 'Content-Length: 5', 'a b: c', ' folded', 'X:\n'])}\r\n\r\n`,
    ),
  (draft) => chunked(draft, `0\r\n\r\n${smuggled}`),
  (draft, random) => {
    insert(
      draft,
      random,
      `Transfer-Encoding: ${pick(random, ['chunked', 'identity', 'gzip', 'gzip, chunked', 'chunked, chunked', 'xchunked', 'chunked\t', '\x0bchunked', 'Chunked', ''])}`,
    )
    if (random() < 0.5) draft.body = '0\r\n\r\n'
  },
  (draft, random) =>
    insert(
      draft,
      random,
      pick(random, [
        'Transfer-Encoding : chunked',
        'Transfer-Encoding:\r\n chunked',
        'Transfer\xadEncoding: chunked',
        ' Transfer-Encoding: chunked',
        'X: y\nTransfer-Encoding: chunked',
      ]),
    ),
  (draft, random) =>
    insert(draft, random, pick(random, ['Trailer: X', 'TE: trailers', 'Proxy-Connection: keep-alive'])),
]

const headerTricks: readonly Trick[] = [
  (draft, random) =>
    insert(
      draft,
      random,
      `X: a${pick(random, ['\x00', '\x01', '\x7f', '\r', '\n', '\x0b', '\x80', '\xa0', '\xff'])}b`,
    ),
  (draft, random) =>
    insert(draft, random, `X${pick(random, ['\x00', ' ', '\t', '\x7f', '(', '/', '\xe9', '"', '@'])}Y: a`),
  (draft, random) =>
    insert(draft, random, pick(random, [': a', ':', 'X', ' ', '\t', 'X:', 'X:\t \t', ' X: a', '\tX: a'])),
  (draft, random) => insert(draft, random, `X: a\r\n${pick(random, [' ', '\t', '  b: c', ' \r\n'])}b`),
  (draft, random) =>
    insert(
      draft,
      random,
      `X: ${'a'.repeat(pick(random, random() < 0.3 ? [8_100, 8_192, 8_300, 15_900, 16_384, 17_000] : [100, 1_000]))}`,
    ),
  (draft, random) =>
    void draft.lines.push(
      ...Array.from(
        { length: pick(random, random() < 0.1 ? [1_999, 2_001] : [30, 99, 100]) },
        (_, at) => `X-${at}: a`,
      ),
    ),
  (draft, random) =>
    (draft.lines = draft.lines.map((line) =>
      line.replace(
        /^Host: .*/,
        pick(random, ['Host:', 'Host: a b', 'Host: x, y', 'Host : x', 'host: \t', 'Host: \xff', 'X: y']),
      ),
    )),
  (draft, random) => insert(draft, random, 'Host: y'),
  (draft, random) =>
    insert(
      draft,
      random,
      `Connection: ${pick(random, ['close', 'keep-alive', 'Keep-Alive', 'upgrade', 'close, keep-alive', 'keep-alive\t', 'te', '', 'keep-alive, x'])}`,
    ),
  (draft, random) => {
    insert(draft, random, 'Connection: upgrade')
    insert(draft, random, `Upgrade: ${pick(random, ['h2c', 'websocket', ''])}`)
  },
  (draft, random) => insert(draft, random, `Upgrade: ${pick(random, ['h2c', 'websocket'])}`),
  (draft, random) =>
    insert(
      draft,
      random,
      `Expect: ${pick(random, ['100-continue', '100-Continue', '200-ok', '100-continue, x', ''])}`,
    ),
  (draft, random) =>
    insert(draft, random, `${pick(random, ['Authorization', 'Content-Type', 'Idempotency-Key'])}: a`),
  (draft, random) =>
    insert(draft, random, pick(random, ['Origin: http://x', 'Sec-Fetch-Site: cross-site', 'Cookie: a=b'])),
  (draft, random) =>
    (draft.lines = draft.lines.map((line) => (random() < 0.5 ? line.toUpperCase() : line.toLowerCase()))),
  (draft, random) =>
    (draft.lines = draft.lines.map((line) => line.replace(': ', pick(random, [':', ':\t', ':   ', ' : '])))),
]

const bodyTricks: readonly Trick[] = [
  (draft) => {
    draft.body = smuggled
    changeLength(draft, () => ` ${smuggled.length}`)
  },
  (draft) => (draft.body += smuggled),
  (draft, random) => (draft.body = draft.body.slice(0, whole(random, draft.body.length + 1))),
  (draft) => {
    draft.body = 'x'.repeat(2_000)
    changeLength(draft, () => ' 2000')
  },
  (draft, random) => (draft.end = pick(random, ['\n', '\r', '\r\r\n', '\n\r'])),
  (draft) => (draft.lines.length > 0 ? (draft.lines[draft.lines.length - 1] += '\n') : undefined),
]

const groups = [lineTricks, lengthTricks, codingTricks, headerTricks, bodyTricks]

function draftOf(random: Random): Draft {
  const body = pick(random, ['', '{}', '{"a":1}', '\x00\r\n\r\n\xff', 'GET / HTTP/1.1\r\n\r\n'])
  return {
    method: 'POST',
    target: pick(random, ['/a', '/b?c=d', '/other', '/a/b']),
    version: 'HTTP/1.1',
    lines: ['Host: x', `Content-Length: ${body.length}`],
    end: '\r\n',
    body,
  }
}

function textOf({ method, target, version, lines, end, body }: Draft): string {
  return [`${method} ${target} ${version}`, ...lines, '', body].join(end)
}

const plain = 'POST /last HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlast'

/** Returns the reads of one connection: one to three requests with up to three tricks each, followed by a plain request. */
export function fuzzedPieces(random: Random): Buffer[] {
  const texts = Array.from({ length: 1 + whole(random, 3) }, () => {
    const draft = draftOf(random)
    for (let count = pick(random, [0, 0, 1, 1, 1, 2, 3]); count > 0; count--)
      pick(random, pick(random, groups))(draft, random)
    return textOf(draft)
  })
  const requests = [...texts, plain].map((text) => Buffer.from(text, 'latin1'))
  const style = random()
  // A keep-alive client sends each request in a separate read.
  if (style < 0.4) return damaged(requests, random)
  return damaged(cut(Buffer.concat(requests), random), random)
}

function cut(bytes: Buffer, random: Random): Buffer[] {
  const style = random()
  if (style < 0.03 && bytes.byteLength < 200) return [...bytes].map((byte) => Buffer.of(byte))
  const places = Array.from({ length: whole(random, 6) }, () => whole(random, bytes.byteLength)).sort(
    (a, b) => a - b,
  )
  const ends = [...places, bytes.byteLength]
  return ends
    .map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end))
    .filter(({ byteLength }) => byteLength > 0)
}

/** Replaces some bytes in one of ten connections. */
function damaged(pieces: Buffer[], random: Random): Buffer[] {
  if (random() > 0.1) return pieces
  return pieces.map((piece) => {
    const copy = Buffer.from(piece)
    for (let count = whole(random, 3); count > 0; count--)
      copy[whole(random, copy.byteLength)] = whole(random, 256)
    return copy
  })
}
