// SPDX-License-Identifier: GPL-2.0-only
/*
 * alarm SECONDS: set the RTC's alarm that far ahead of its time, and leave it set.
 *
 * Theory of operation: by ioctl on /dev/rtc0, because Linux shows no wakealarm file for an RTC
 * whose driver does not call it a wake-up source.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/rtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct rtc_wkalrm alarm = {.enabled = 1};
	struct tm tm = {.tm_isdst = 0};
	int fd = open("/dev/rtc0", O_RDONLY);
	struct rtc_time now;
	time_t at;

	if (argc < 2 || fd < 0 || ioctl(fd, RTC_RD_TIME, &now)) {
		perror("alarm: /dev/rtc0");
		return 1;
	}
	tm.tm_year = now.tm_year;
	tm.tm_mon = now.tm_mon;
	tm.tm_mday = now.tm_mday;
	tm.tm_hour = now.tm_hour;
	tm.tm_min = now.tm_min;
	tm.tm_sec = now.tm_sec;
	at = timegm(&tm) + atoi(argv[1]);
	gmtime_r(&at, &tm);
	alarm.time.tm_year = tm.tm_year;
	alarm.time.tm_mon = tm.tm_mon;
	alarm.time.tm_mday = tm.tm_mday;
	alarm.time.tm_hour = tm.tm_hour;
	alarm.time.tm_min = tm.tm_min;
	alarm.time.tm_sec = tm.tm_sec;
	if (ioctl(fd, RTC_WKALM_SET, &alarm)) {
		perror("alarm: RTC_WKALM_SET");
		return 1;
	}
	printf("%lld\n", (long long)at);
	return 0;
}
