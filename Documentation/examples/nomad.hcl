# SPDX-License-Identifier: GPL-2.0-only
#
# A VM as a Nomad job, by the raw_exec driver (the client's user must be allowed to use /dev/kvm):
# the kernel and the disk are fetched, a stop asks the guest, within a limit that is longer than
# lkvm's own, and what the guest says is the task's log.

job "web-vm" {
  datacenters = ["dc1"]
  type        = "service"

  constraint {
    attribute = "${attr.cpu.arch}"
    value     = "riscv64"
  }

  group "vm" {
    network {
      port "http" {}
    }

    # 125: it can't be started so; trying again does not help for long.
    restart {
      attempts = 3
      mode     = "fail"
    }

    task "lkvm" {
      driver = "raw_exec"

      # SIGTERM presses the guest's power button; after 30 s the VM is ended.
      kill_signal  = "SIGTERM"
      kill_timeout = "45s"

      artifact {
        source      = "https://images.example.net/web/Image"
        destination = "local/"
      }

      artifact {
        source      = "https://images.example.net/web/disk.img"
        destination = "local/"
      }

      # Sockets of the allocation's own; "lkvm list" with the same variable sees the VM.
      env {
        XDG_RUNTIME_DIR = "${NOMAD_TASK_DIR}"
      }

      config {
        command = "/usr/bin/lkvm"
        args = [
          "run", "--name", "vm",
          "-k", "local/Image", "-d", "local/disk.img", "-p", "root=/dev/vda rw",
          "-c", "2", "-m", "1G", "--power-button",
          "-n", "mode=user,publish=${NOMAD_PORT_http}:80",
        ]
      }

      resources {
        cpu    = 2000
        memory = 1152
      }
    }
  }
}
