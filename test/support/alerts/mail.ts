/** Receives mail for tests. */
import { createServer as createTcp, type AddressInfo, type Server as TcpServer } from 'node:net'

/** Implements the parts of SMTP (RFC 5321) that a sender needs. */
export async function listenForMail(): Promise<{ server: TcpServer; port: number; mails: string[] }> {
  const mails: string[] = []
  const server = createTcp((socket) => {
    let text = ''
    let reads = false
    socket.write('220 here\r\n')
    socket.on('data', (chunk) => {
      text += chunk.toString()
      if (reads) {
        if (!text.endsWith('\r\n.\r\n')) return
        mails.push(text)
        reads = false
        text = ''
        socket.write('250 taken\r\n')
        return
      }
      for (const line of text.split('\r\n').slice(0, -1)) {
        reads = line === 'DATA'
        socket.write(reads ? '354 go on\r\n' : line === 'QUIT' ? '221 bye\r\n' : '250 ok\r\n')
      }
      text = ''
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port, mails }
}
