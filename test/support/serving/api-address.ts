/** Gives an application of `startApi` an address, for programs and command lines that ask by HTTP. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { TestApi } from './serving-fixture.ts'

export async function listenFor({ request }: Pick<TestApi, 'request'>) {
  const server = createServer((asked, response) => {
    void text(asked)
      .then((body) =>
        request(asked.method!, asked.url!, {
          key: asked.headers.authorization?.replace('Bearer ', ''),
          ...(body !== '' && { body }),
        }),
      )
      .then((answer) => response.writeHead(answer.status).end(answer.text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => server.close(),
  }
}
