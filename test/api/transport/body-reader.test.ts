/** Tests bodies that Node's server reads: each is bounded, and so are all incomplete bodies together. */
import { createServer } from 'node:http'
import { it } from 'vitest'
import { createBodyBudget, defaultBudget } from '../../../api/http/body-budget.ts'
import { createBodyReader } from '../../../api/transport/predict-endpoint.ts'
import {
  connectSocket,
  serve,
  type RawConnection,
} from '../../../packages/http-front/test/support/sockets.ts'
import { until } from '../../support/serving/serving-fixture.ts'

/** Responds with the length of the body or the code of its refusal; `/cut` is reset after the first piece. */
async function listen(withinMs = 60_000) {
  const bodies = createBodyBudget({ ...defaultBudget, maxHeldBytes: 1_000 })
  let readBytes = 0
  const uploads = createBodyReader({ maxBytes: 1_000, withinMs })
  const server = createServer((request, response) => {
    uploads.read(
      request,
      bodies.open({ keyId: 'key_a' }),
      (body) => void response.end(`${body.byteLength} bytes`),
      ({ code }) => void response.end(code),
    )
    request.on('data', (chunk: Buffer) => {
      readBytes += chunk.byteLength
      if (request.url === '/cut') request.destroy()
    })
  })
  const port = await serve(server)
  const ask = (packet: string): RawConnection => {
    const line = connectSocket(port)
    line.socket.write(packet)
    return line
  }
  return { ask, readBytes: () => readBytes }
}

const post = (bytes: number, sent: number, path = '/'): string =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n${'x'.repeat(sent)}`

it('incomplete bodies count from their first piece until their client disconnects', async () => {
  const { ask, readBytes } = await listen()
  const first = ask(post(800, 600))
  const second = ask(post(800, 600))
  await until(() => (first.got() + second.got()).endsWith('overloaded'), 'one of them to be refused')
  const [kept, refused] = first.got() === '' ? [first, second] : [second, first]
  // Complete at once, so no bytes are held for it.
  const whole = ask(post(900, 900))
  await until(() => whole.got().endsWith('900 bytes'), 'an answer')
  kept.socket.write('x'.repeat(200))
  await until(() => kept.got().endsWith('800 bytes'), 'its answer')
  refused.socket.write('x'.repeat(200))
  const gone = ask(post(800, 600, '/cut'))
  await until(() => gone.closed(), 'its end')
  const before = readBytes()
  const patient = ask(post(800, 600))
  await until(() => readBytes() === before + 600, 'the first piece')
  patient.socket.write('x'.repeat(200))
  await until(() => patient.got().endsWith('800 bytes'), 'its answer')
})

it('a chunked body in one read is complete', async () => {
  const { ask } = await listen()
  const chunked = ask(
    'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n',
  )
  await until(() => chunked.got().endsWith('3 bytes'), 'an answer')
})

it('a body that is too large is refused, in one piece or several', async () => {
  const { ask } = await listen()
  for (const asked of [ask(post(1_001, 1_001)), ask(post(2_000, 1_001))])
    await until(() => asked.got().endsWith('body_too_large'), 'a refusal')
})

it('a body that is not complete in time is refused', async () => {
  const { ask } = await listen(50)
  for (const sent of [0, 600]) {
    const slow = ask(post(800, sent))
    await until(() => slow.got().endsWith('request_timeout'), 'a refusal')
  }
})
