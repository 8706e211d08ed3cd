import { Command, CommanderError, Option } from 'commander'
import manifest from '../package.json' with { type: 'json' }
import type { Flags } from './config.ts'
import { dev, devSettings, type DevFlags } from './dev.ts'
import { CommandError, endWith, EXIT, toCommandError } from './failures.ts'
import { configSetting, settings, type Setting, type SettingName } from './settings.ts'
import { start, startSettings } from './start.ts'
import { token, type TokenFlags } from './token.ts'

const GROUPS: Readonly<Record<SettingName, string>> = {
  port: 'Address:',
  host: 'Address:',
  storage: 'Data:',
  auth: 'Access:',
  jwtSecret: 'Access:',
  logLevel: 'Options:',
}

const COMMANDS: readonly string[] = ['start', 'dev', 'token']

const EXIT_CODES = `
Exit codes:
  0    it was asked to stop, and has stored everything
  69   the port cannot be listened on
  70   it failed in a way that nobody foresaw
  73   the storage cannot be created, opened or written, or not all was stored before the end
  78   a flag, an environment variable or the configuration file cannot be used
  130  a second Ctrl+C ended it at once (143: a second SIGTERM)`

const START_HELP = `
Where a setting is given twice, the flag goes before the environment, and that before the file.
The file holds the same settings by their names (port, host, storage, auth, jwtSecret, logLevel), and every other
option of the server, such as securityPolicies.

When it is ready it prints one line, PORT=<n>, on stdout; everything else goes to stderr.

Examples:
  $ openssl rand -base64 32 > secret && syncline start --secret-file secret
  $ PORT=8080 SYNCLINE_STORAGE=sqlite:/var/lib/app/app.db SYNCLINE_JWT_SECRET_FILE=/run/secrets/jwt syncline start
  $ syncline start --storage memory --auth none --host 127.0.0.1
${EXIT_CODES}`

const DEV_HELP = `
It listens on 127.0.0.1 alone. Any signed-in user may read and write every map, unless the configuration file has
securityPolicies. In its folder it keeps the data (syncline.db), the secret that it signs tokens with (dev-secret) and
the port (dev-port), so that browsers find what they keep for offline use under the same address again.

  /            the todo page, and WebSocket
  /ws          WebSocket
  /dev/token   a token for that page; ?user=alice&role=ADMIN for another user

Examples:
  $ syncline dev
  $ syncline dev --port 3000 --data /tmp/try
${EXIT_CODES}`

const TOKEN_HELP = `
It is signed with the secret that --secret-file, SYNCLINE_JWT_SECRET or SYNCLINE_JWT_SECRET_FILE gives, or else with
that of "syncline dev".

Examples:
  $ syncline token --user alice
  $ syncline token --user root --role ADMIN --ttl 15m --secret-file ./secret`

/** Reads the command line, runs what it asks for, and ends the process with a sentence where it cannot. */
export async function main(argv: readonly string[]): Promise<void> {
  // Whoever read the output is gone; that is no reason to end, and none to show a stack.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  try {
    await program().parseAsync(argv)
  } catch (error) {
    const isDebugging = argv.includes('--log=debug') || process.env.SYNCLINE_LOG === 'debug'
    if (!(error instanceof CommanderError)) endWith(toCommandError(error, { host: '', port: 0 }), isDebugging)
    if (error.exitCode === 0) return
    if (error.code === 'commander.help') process.exit(EXIT.config)
    endWith(new CommandError(EXIT.config, [usageProblem(error.message, argv[2])], { cause: error }), isDebugging)
  }
}

function program(): Command {
  const syncline = new Command('syncline')
    .description('Runs a Syncline server: offline-first data that syncs, kept in SQLite.')
    .version(manifest.version, '-v, --version', 'Print the version.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand('help [command]', 'Print the help of a command.')
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .addHelpText(
      'after',
      '\n"syncline <command> --help" tells more.\n\nExamples:\n  $ syncline dev\n  $ syncline start --secret-file ./secret',
    )

  const startCommand = syncline.command('start').description('Run a server for production.')
  addSettings(startCommand, startSettings)
  startCommand.addHelpText('after', START_HELP).action((flags: Flags) => start(flags))

  const devCommand = syncline
    .command('dev')
    .description('Run a server for this machine alone, with a todo page to try it.')
  addSettings(devCommand, devSettings, {
    port: 'that of the last run, or else the first free one from 4555 on',
    logLevel: 'warn',
  })
  devCommand
    .addOption(dataOption())
    .addHelpText('after', DEV_HELP)
    .action((flags: DevFlags) => dev(flags))

  const tokenCommand = syncline.command('token').description('Print a token that signs a user in.')
  tokenCommand
    .option('--user <id>', 'Whom the token speaks for; it has to be given.')
    .addOption(
      new Option('--role <role>', 'A role of the user; may be given several times. (default: USER)').argParser(
        (role: string, before: readonly string[] | undefined) => [...(before ?? []), role],
      ),
    )
    .option('--ttl <duration>', 'How long it is good: a number and s, m, h or d.', '1h')
    .addOption(dataOption())
  addSettings(tokenCommand, ['jwtSecret'])
  tokenCommand
    .addHelpText('after', TOKEN_HELP)
    .action((flags: TokenFlags) => token({ ...flags, role: flags.role ?? ['USER'] }))
  return syncline
}

const dataOption = (): Option =>
  new Option('--data <folder>', 'Folder of the development server.').default('./data').helpGroup('Data:')

/** Gives a command the flags of settings, and of the file where it reads more than the secret. */
function addSettings(
  command: Command,
  names: readonly SettingName[],
  defaults: Readonly<Partial<Record<SettingName, string>>> = {},
): void {
  for (const setting of settings.filter(({ name }) => names.includes(name))) {
    command.addOption(
      toOption(setting, help(setting, defaults[setting.name] ?? setting.default)).helpGroup(GROUPS[setting.name]),
    )
  }
  const { flag, env, description, default: found } = configSetting
  if (names.length > 1) {
    command.addOption(new Option(flag, `${description} (env: ${env}; default: ${found})`).helpGroup('Options:'))
  }
}

/** An option whose value arrives under the name of its setting. */
function toOption(setting: Setting, description: string): Option {
  const option = new Option(setting.flag, description)
  option.attributeName = () => setting.name
  return option
}

function help({ description, env, aliases = [], isSecret }: Setting, value: string | undefined): string {
  const names = isSecret === true ? [`${env}_FILE`, `${env} holds the secret itself`] : [env, ...aliases]
  return `${description} (env: ${names.join(', ')}${value === undefined ? '' : `; default: ${value}`})`
}

/** Commander's words as one sentence, with the help of the command that was meant. */
function usageProblem(message: string, command: string | undefined): string {
  const [words = '', hint] = message.replace(/^error: /, '').split('\n')
  const suggestion = hint === undefined ? '' : `, ${hint.replaceAll(/[()]/g, '').replace('Did', 'did')}`
  const help = command !== undefined && COMMANDS.includes(command) ? `syncline ${command}` : 'syncline'
  return `${words}${suggestion} See "${help} --help".`.replace(/(?<![.?]) See/, '. See')
}
